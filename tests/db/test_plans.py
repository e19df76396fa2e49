"""What a commit reads does not grow with its session, whatever the planner takes sessions for."""

import pytest

from api.events import Hub
from api.store import Store
from bench import turns
from bench.tenants import make_tenants, open_sessions
from db.pool import Pool, open_pool

_TURN_COUNT = 1_000
_SESSION_COUNT = 1_000
_READ_MAX = 10


async def read_of(pool: Pool, table: str) -> int:
    """How many rows of a table have been read by now, on a pool of one connection."""
    await pool.fetchval("SELECT pg_stat_force_next_flush()")
    count = await pool.fetchval(
        "SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_user_tables WHERE relname = $1", table
    )
    return int(count)


async def test_a_commit_reads_few_turns_of_a_long_session_among_short_ones(database_url: str) -> None:
    async with await open_pool(database_url, size_max=1) as pool:
        store = Store(pool, Hub())
        tenants = await make_tenants(store)
        await open_sessions(pool, tenants, count=500, turn_count=2)
        await pool.execute("ANALYZE")
        (session,) = await open_sessions(pool, tenants, count=1, turn_count=_TURN_COUNT)
        # One plan for all values, made of what was known of the short ones, as it is after a few commits.
        await pool.execute("SET plan_cache_mode = force_generic_plan")
        before = await read_of(pool, "turns")

        appended = await turns.append(store, session, expected=1 + 2 * _TURN_COUNT)
        await turns.complete(store, turns.right_to(session, appended), turns.known_of(appended))

        read = await read_of(pool, "turns") - before

    assert 0 < read <= _READ_MAX


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
async def test_a_commit_reads_few_sessions_of_a_large_organization_among_small_ones(
    database_url: str, mode: str
) -> None:
    async with await open_pool(database_url, size_max=1) as pool:
        store = Store(pool, Hub())
        tenants = await make_tenants(store, 100)
        await open_sessions(pool, tenants, count=100, turn_count=2)
        await pool.execute("ANALYZE")
        session, *_ = await open_sessions(pool, tenants[:1], count=_SESSION_COUNT, turn_count=2)
        await pool.execute(f"SET plan_cache_mode = {mode}")
        before = await read_of(pool, "sessions")

        appended = await turns.append(store, session, expected=5)
        await turns.complete(store, turns.right_to(session, appended), turns.known_of(appended))

        read = await read_of(pool, "sessions") - before

    assert 0 < read <= _READ_MAX
