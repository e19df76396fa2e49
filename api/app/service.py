"""The service: from the settings to something that answers, and back to nothing when it is told to stop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping

import msgspec
from loguru import logger as log

from api.app import first_start
from api.app.asgi import build_app, build_state
from api.app.database import application_store
from api.app.host_guard import guard_host
from api.app.key_uses import keeping_keys
from api.app.local_access import LocalAccess
from api.app.observing import observe
from api.app.process import assembled
from api.app.server import Server, address_of, allow_many_files, bind, listen, make_server, on_signals
from api.runner.loop import Runner
from api.settings import Settings


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to say when the service answers."""

    address: str
    local: LocalAccess | None
    """How the person at this machine gets in; None with an external database."""


async def serve(settings: Settings, *, environ: Mapping[str, str], announce: Callable[[Ready], None]) -> None:
    """Run the service until SIGTERM or SIGINT; then let what is open finish, hand over what does not.

    Raises:
        AddressUnavailable: it cannot listen where it should.
        RowSecurityError: the settings ask for a role that cannot be had.
        EmbeddedPostgresError, MigrationError, OSError, asyncpg.PostgresError: there is no database to be had.
    """
    allow_many_files()
    stopping = asyncio.Event()
    this_task = asyncio.current_task()
    assert this_task is not None
    server: Server | None = None

    def stop() -> None:
        """Stop what serves; before there is anything, give the start up."""
        if server is not None:
            server.stop()
        elif not stopping.is_set():
            this_task.cancel()
        stopping.set()

    with on_signals(stop), contextlib.closing(bind(settings.host, settings.port)) as bound:
        try:
            async with _assembled(settings, environ, bound) as (made, runner, ready):
                server = made
                await _run(server, runner, bound, stopping, lambda: announce(ready))
        except asyncio.CancelledError:
            if not stopping.is_set():
                raise
    log.info("service stopped")


@contextlib.asynccontextmanager
async def _assembled(
    settings: Settings, environ: Mapping[str, str], bound: socket.socket
) -> AsyncIterator[tuple[Server, Runner, Ready]]:
    """Build every part, and take it down in reverse."""
    address = address_of(bound)
    async with contextlib.AsyncExitStack() as stack:
        parts = await stack.enter_async_context(
            assembled(settings, environ, application_name="turnledger serve")
        )
        local = None
        if settings.database_url is None:
            local = await first_start.prepare(parts.pool, parts.store, settings, address=address)
        seen = await stack.enter_async_context(
            application_store(settings, dsn=parts.dsn, store=parts.store, hub=parts.hub)
        )
        state = build_state(settings, pool=parts.pool, store=seen, hub=parts.hub, unbound=parts.store)
        server = make_server(
            observe(guard_host(build_app(state, pool=parts.pool), bound_to=settings.host)),
            grace_seconds=settings.shutdown_grace_seconds,
            on_stop=state.stop,
        )
        async with keeping_keys(state, parts.store):
            yield server, parts.runner, Ready(address=address, local=local)


async def _run(
    server: Server,
    runner: Runner,
    bound: socket.socket,
    stopping: asyncio.Event,
    announce: Callable[[], None],
) -> None:
    """Serve and run turns side by side, so that both have the whole grace time when they stop."""
    listen(bound)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(_run_turns(runner, stopping))
        serving = group.create_task(server.serve(sockets=[bound]))
        # If listening fails, the group cancels this wait.
        await server.is_listening.wait()
        log.info("service started", address=address_of(bound))
        announce()
        await serving
        # However serving came to its end, there is nobody left to run turns for.
        stopping.set()
        await running


async def _run_turns(runner: Runner, stopping: asyncio.Event) -> None:
    async with runner:
        await stopping.wait()
