"""What every process of the installation runs on: database, store, doorbell, sweeps, and perhaps runners."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Mapping

import msgspec

from api.app import idle_sessions, partitions, sweeps
from api.app.composition import build_models, build_runner
from api.app.database import open_database
from api.app.secrets_key import secrets_keys
from api.app.tools import build_toolbox
from api.doorbell import Doorbell
from api.events import Hub
from api.runner.loop import Runner
from api.settings import Settings
from api.stopping import stopped
from api.store import Store
from api.telemetry.tracing import sending_spans
from db.pool import Pool


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """The parts that a process is built from."""

    pool: Pool
    dsn: str
    hub: Hub
    store: Store
    runner: Runner
    """Not running yet; with `runners` of 0 it runs nothing."""


@contextlib.asynccontextmanager
async def assembled(
    settings: Settings, environ: Mapping[str, str], *, application_name: str
) -> AsyncIterator[Parts]:
    """Build the parts, and take them down in reverse.

    Raises:
        SettingsError: a tool, or a key, that the settings declare is not there.
        EmbeddedPostgresError, MigrationError, OSError, asyncpg.PostgresError: there is no database to be had.
    """
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(sending_spans(settings.otlp_endpoint))
        database = await stack.enter_async_context(open_database(settings, application_name=application_name))
        hub = Hub()
        store = Store(database.pool, hub, secrets_keys=secrets_keys(settings))
        models = build_models(settings, environ)
        stack.push_async_callback(models.close)
        toolbox = build_toolbox(settings, environ, store)
        stack.push_async_callback(toolbox.close)
        own = [
            partitions.tend_forever(database.pool, settings),
            sweeps.sweep_forever(database.pool, settings),
            sweeps.deny_expired_forever(store),
            idle_sessions.end_idle_forever(database.pool, store, settings),
            sweeps.erase_due_forever(store),
        ]
        if settings.doorbell == "on":
            own.append(Doorbell(hub, settings.notify_database_url or database.dsn).keep())
        for work in own:
            stack.push_async_callback(stopped, asyncio.create_task(work))
        name = f"{socket.gethostname()}:{os.getpid()}"
        runner = build_runner(settings, store, models, toolbox, hub, name=name)
        yield Parts(pool=database.pool, dsn=database.dsn, hub=hub, store=store, runner=runner)
