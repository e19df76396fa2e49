"""The Litestar application, put together from the parts that the routes give."""

import asyncio

import asyncpg
from litestar import Litestar
from loguru import logger as log

from api.events import Hub
from api.routes.mounting import app_parts
from api.routes.state import Check, RoutesState
from api.settings import Settings
from api.store import Store
from db.migrate import MigrationError, migrations_folder, pending
from db.pool import Pool

_CHECK_SECONDS_MAX = 2


def build_state(settings: Settings, *, pool: Pool, store: Store, hub: Hub) -> RoutesState:
    """Make what the routes work on."""
    return RoutesState(store=store, hub=hub, settings=settings, check=_readiness(pool))


def build_app(state: RoutesState) -> Litestar:
    """Make the application; what it runs on is opened and closed by the caller."""
    parts = app_parts(state)
    return Litestar(
        route_handlers=parts.handlers,
        exception_handlers=parts.exception_handlers,
        # The routes publish a schema of their own, and the process has one log: ours.
        openapi_config=None,
        logging_config=None,
        # The routes hold bodies to the limit of the settings.
        request_max_body_size=None,
    )


def _readiness(pool: Pool) -> Check:
    async def check() -> dict[str, bool]:
        """Ask whether the database answers and has the schema of this release."""
        try:
            async with asyncio.timeout(_CHECK_SECONDS_MAX), pool.acquire() as conn:
                return {"database": True, "migrations": not await pending(conn, migrations_folder())}
        except MigrationError as error:
            log.warning("readiness check failed", error=str(error))
            return {"database": True, "migrations": False}
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.warning("readiness check failed", error=repr(error))
            return {"database": False}

    return check
