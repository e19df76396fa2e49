"""Ready is only what can do its work: migrated, and on a database that takes writes."""

import asyncpg

from api.app.asgi import build_state
from api.events import Hub
from api.settings import Settings
from api.store import Store
from db.pool import Pool, open_pool


async def checks(pool: Pool) -> dict[str, bool]:
    hub = Hub()
    return await build_state(Settings(), pool=pool, store=Store(pool, hub), hub=hub).check()


async def test_a_migrated_database_that_takes_writes_is_ready(pool: Pool) -> None:
    assert await checks(pool) == {"database": True, "writable": True, "migrations": True}


async def test_a_database_that_takes_no_writes_is_not(pool: Pool, database_url: str) -> None:
    name = await pool.fetchval("SELECT current_database()")
    await pool.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    async with await open_pool(database_url, size_max=2) as later:
        found = await checks(later)

    assert found == {"database": True, "writable": False, "migrations": True}


async def test_a_schema_that_lacks_a_migration_is_not(pool: Pool) -> None:
    await pool.execute(
        "DELETE FROM schema_migrations WHERE number = (SELECT max(number) FROM schema_migrations)"
    )

    assert (await checks(pool))["migrations"] is False


async def test_a_database_that_is_away_is_not(server_dsn: str) -> None:
    pool = await asyncpg.create_pool(server_dsn, min_size=0, max_size=1, ssl=False)
    await pool.close()

    assert await checks(pool) == {"database": False}
