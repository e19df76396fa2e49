"""With many sessions the planner still finds by index what every call and every turn asks for."""

import re
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from api.events import Hub
from api.store import Store
from bench.grown import grow
from bench.tenants import make_tenants
from db.pool import Pool, open_pool
from tests.db.test_statements import HOT, explain, full_scans, statements
from tests.scale import scaled
from tests.shared_database import shared_database
from tests.store.test_doctor import findings_of

_SECONDS_MAX = 600
SESSIONS = scaled(short=20_000, long=1_000_000)

MAY_SCAN = {
    ("metrics", "_GROUPS"): "sums over every session of a stretch of time",
    ("summaries", "_SUMMARY"): "sums over every ledger row of a stretch of time",
}
"""What reads much of an organization whatever the plan: one that has half of all rows is best read whole."""


@pytest.fixture(scope="session")
async def grown(server_dsn: str, admin: asyncpg.Connection, template_database: str) -> AsyncIterator[Pool]:
    """A database with so many sessions, half of them of one organization; generated once for all workers."""
    name = f"{template_database}_grown"
    dsn = urlunsplit(urlsplit(server_dsn)._replace(path=f"/{name}"))

    async def fill() -> None:
        async with await open_pool(dsn, size_max=2, statement_timeout_seconds=_SECONDS_MAX) as pool:
            await grow(pool, await make_tenants(Store(pool, Hub()), 20), session_count=SESSIONS)

    # The doctor reads whole tables, which takes longer than any statement of a request may.
    async with (
        shared_database(admin, name, template=template_database, fill=fill),
        await open_pool(dsn, size_max=2, statement_timeout_seconds=_SECONDS_MAX) as pool,
    ):
        yield pool


async def test_there_are_so_many_in_partitions_of_a_year(grown: Pool) -> None:
    assert await grown.fetchval("SELECT count(*) FROM sessions") == SESSIONS + 1
    for parent in ("steps", "events", "usage_entries"):
        rows = await grown.fetch(f"SELECT tableoid::regclass::text, count(*) FROM {parent} GROUP BY 1")
        assert 2 <= len(rows) <= 6, rows
        assert f"{parent}_rest" not in {row[0] for row in rows}


async def test_what_was_generated_is_lawful(grown: Pool) -> None:
    assert await findings_of(Store(grown, Hub())) == {}


@pytest.mark.parametrize("key", sorted(HOT - MAY_SCAN.keys()), ids=".".join)
async def test_hot_statements_read_no_growing_table_from_end_to_end(
    grown: Pool, key: tuple[str, str]
) -> None:
    async with grown.acquire() as conn, conn.transaction():
        plan = await explain(conn, statements()[key])

    # An empty partition is no bigger than its only page; the planner may well read that.
    assert [name for name in full_scans(plan) if not await is_small(grown, name)] == [], plan


async def is_small(pool: Pool, table: str) -> bool:
    pages: int = await pool.fetchval("SELECT pg_relation_size($1::regclass) / 8192", table)
    return pages <= 1


@pytest.mark.parametrize("filters", [{}, {"state": "ended"}, {"name": "Talk 77"}, {"agent": True}], ids=str)
async def test_a_page_of_sessions_touches_few_rows(grown: Pool, filters: dict[str, object]) -> None:
    statement = statements()["sessions", "_LIST_NAMED" if "name" in filters else "_LIST"]
    async with grown.acquire() as conn, conn.transaction():
        organization, agent = await conn.fetchrow(
            "SELECT organization_id, agent_id FROM sessions GROUP BY 1, 2 ORDER BY count(*) DESC LIMIT 1"
        )
        await conn.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        pattern = f"{filters['name']}%" if "name" in filters else None
        rows = await conn.fetch(
            f"EXPLAIN (ANALYZE, TIMING off) {statement}",
            *(organization, None, filters.get("state"), agent if "agent" in filters else None),
            *(None, pattern, None, 50),
        )
    plan = "\n".join(row[0] for row in rows)

    removed = [int(number) for number in re.findall(r"Rows Removed by Filter: (\d+)", plan)]
    assert full_scans(plan) == [], plan
    assert sum(removed) <= 1000, plan
