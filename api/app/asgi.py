"""The Litestar application, put together from the parts that the routes give."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import asyncpg
from litestar import Litestar, Request, Response
from loguru import logger as log

from api.events import Hub
from api.routes import health
from api.routes.error_handlers import EXCEPTION_HANDLERS
from api.routes.measures import measures_handlers
from api.routes.mounting import app_parts
from api.routes.operations import Operation, route_handlers
from api.routes.state import Check, RoutesState
from api.settings import Settings
from api.store import Store
from api.telemetry import measures
from db.migrate import MigrationError, migrations_folder, pending
from db.pool import Pool, is_writable

_CHECK_SECONDS_MAX = 2


def build_state(
    settings: Settings, *, pool: Pool, store: Store, hub: Hub, unbound: Store | None = None
) -> RoutesState:
    """Make what the routes work on; `unbound` is given where `store` sees one organization at a time."""
    return RoutesState(store=store, unbound=unbound, hub=hub, settings=settings, check=_readiness(pool))


def build_app(state: RoutesState, *, pool: Pool) -> Litestar:
    """Make the application; what it runs on is opened and closed by the caller."""
    parts = app_parts(state)
    return Litestar(
        route_handlers=[*parts.handlers, *measures_handlers(state.settings, refresh_of(pool))],
        exception_handlers=parts.exception_handlers,
        # The routes publish a schema of their own, and the process has one log: ours.
        openapi_config=None,
        logging_config=None,
        # The routes hold bodies to the limit of the settings.
        request_max_body_size=None,
    )


class _Worker(NamedTuple):
    """What the probes of a worker look at."""

    check: Check


def build_measures_app(settings: Settings, *, pool: Pool) -> Litestar:
    """Make the application of a worker: its figures and the probes of its health, and nothing else."""
    worker = _Worker(_readiness(pool))

    async def probe(operation: Operation, _: Request[Any, Any, Any]) -> Response[bytes]:
        return await operation.handler(worker)

    return Litestar(
        route_handlers=[
            *measures_handlers(settings, refresh_of(pool)),
            *route_handlers(health.OPERATIONS, probe),
        ],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=None,
        logging_config=None,
    )


def refresh_of(pool: Pool) -> Callable[[], None]:
    """Make the function that looks up the figures which nobody counts."""

    def refresh() -> None:
        idle = pool.get_idle_size()
        measures.POOL_CONNECTIONS.labels(state="used").set(pool.get_size() - idle)
        measures.POOL_CONNECTIONS.labels(state="idle").set(idle)
        measures.POOL_CONNECTIONS.labels(state="max").set(pool.get_max_size())

    return refresh


def _readiness(pool: Pool) -> Check:
    async def check() -> dict[str, bool]:
        """Ask whether the database answers, takes writes, and has the schema of this release."""
        try:
            async with asyncio.timeout(_CHECK_SECONDS_MAX), pool.acquire() as conn:
                return {
                    "database": True,
                    "writable": await is_writable(conn),
                    "migrations": not await pending(conn, migrations_folder()),
                }
        except MigrationError as error:
            log.warning("readiness check failed", error=str(error))
            return {"database": True, "migrations": False}
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.warning("readiness check failed", error=repr(error))
            return {"database": False}

    return check
