"""The database of an installation: the embedded server or an external one, migrated, as an open pool."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from loguru import logger as log

from api.app.secrets_key import secrets_keys
from api.events import Hub
from api.settings import Settings
from api.store import Store
from db import embedded
from db.migrate import Applied, migrate, migrations_folder
from db.pool import Pool, close_pool, open_pool
from db.row_security import open_application_pool


@contextlib.asynccontextmanager
async def database_url(settings: Settings) -> AsyncIterator[str]:
    """Give the DSN of the external database that is set, or of the embedded server, which runs meanwhile.

    Raises:
        EmbeddedPostgresError: the embedded server cannot be had.
    """
    if settings.database_url is not None:
        yield settings.database_url
    else:
        async with embedded.running(settings.data_dir) as dsn:
            yield dsn


async def apply_migrations(dsn: str) -> list[Applied]:
    """Bring the database to the schema of this code; another process that does so is waited for.

    Raises:
        MigrationError: it cannot be brought there.
    """
    applied = await migrate(dsn, migrations_folder())
    for migration in applied:
        log.info("migration applied", number=migration.number, name=migration.name)
    return applied


class Database(NamedTuple):
    """The migrated database of an installation."""

    pool: Pool
    dsn: str


@contextlib.asynccontextmanager
async def open_database(settings: Settings, *, application_name: str) -> AsyncIterator[Database]:
    """Open a pool on the migrated database.

    Raises:
        EmbeddedPostgresError, MigrationError, OSError, asyncpg.PostgresError: there is no database to be had.
    """
    async with database_url(settings) as dsn:
        await apply_migrations(dsn)
        pool = await open_pool(dsn, **_pool_options(settings, application_name))
        try:
            yield Database(pool, dsn)
        finally:
            await close_pool(pool)


@contextlib.asynccontextmanager
async def application_store(settings: Settings, *, dsn: str, store: Store, hub: Hub) -> AsyncIterator[Store]:
    """Give what calls of the API work on: `store`, or one that sees one organization at a time.

    Raises:
        RowSecurityError: the application role cannot be had.
        OSError, asyncpg.PostgresError: there is no database to be had.
    """
    if settings.row_level_security == "off":
        yield store
        return
    pool = await open_application_pool(dsn, **_pool_options(settings, "turnledger application"))
    try:
        yield Store(pool, hub, secrets_keys=secrets_keys(settings))
    finally:
        await close_pool(pool)


def _pool_options(settings: Settings, application_name: str) -> dict[str, Any]:
    return {
        "size_max": settings.pool_size_max,
        "application_name": application_name,
        "acquire_timeout_seconds": settings.pool_timeout_ms / 1000,
        "statement_timeout_seconds": settings.statement_timeout_ms / 1000,
        "lock_timeout_seconds": settings.lock_timeout_ms / 1000,
        "prepares_statements": settings.prepared_statements == "on",
    }


@contextlib.asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[Store]:
    """Open the store for a command of the terminal, which nobody in this process listens to.

    Raises:
        EmbeddedPostgresError, MigrationError, OSError, asyncpg.PostgresError: there is no database to be had.
    """
    async with open_database(settings, application_name="turnledger command") as database:
        yield Store(database.pool, Hub(), secrets_keys=secrets_keys(settings))
