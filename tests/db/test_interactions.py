"""Lists of interactions are read along an index, however many there are."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from db import interactions
from db.migrate import migrations_folder
from db.pool import Pool

ORGANIZATION = UUID(int=1)
STEPS = 50_000

_FILL = """
INSERT INTO interactions (organization_id, id, session_id, agent_id, client, project, at)
SELECT $1, lpad(to_hex(1700000000000 + n), 32, '0')::uuid,
       lpad(to_hex(n % 500), 32, '0')::uuid, lpad(to_hex(n % 20), 32, '0')::uuid,
       'key_' || (n % 7), CASE WHEN n % 3 = 0 THEN 'project ' || (n % 30) END,
       to_timestamp(1700000000 + n)
  FROM generate_series(1, $2::int) AS n
"""

BOUNDS: tuple[Any, ...] = (
    ORGANIZATION,
    UUID(int=2**128 - 1),
    UUID(int=0),
    datetime(2000, 1, 1, tzinfo=UTC),
    51,
)
PAGES: dict[str, tuple[Any, ...]] = {
    "_PAGE": (),
    "_PAGE_OF_SESSION": (UUID(int=3), None, None, None),
    "_PAGE_OF_PROJECT": ("project 3", None, None),
    "_PAGE_OF_AGENT": (UUID(int=3), None),
    "_PAGE_OF_CLIENT": ("key_3",),
}


@pytest.fixture
async def filled(pool: Pool) -> Pool:
    """A database with many interactions."""
    await pool.execute(_FILL, ORGANIZATION, STEPS)
    await pool.execute("ANALYZE interactions")
    return pool


async def _explain(conn: asyncpg.Connection, statement: str, arguments: tuple[Any, ...], mode: str) -> str:
    await conn.execute(f"SET LOCAL plan_cache_mode = {mode}")
    rows = await conn.fetch(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", *arguments)
    return "\n".join(row[0] for row in rows)


async def test_every_page_is_read_along_its_index(filled: Pool) -> None:
    for name, arguments in PAGES.items():
        for mode in ("force_custom_plan", "force_generic_plan"):
            async with filled.acquire() as conn, conn.transaction():
                plan = await _explain(conn, getattr(interactions, name), (*BOUNDS, *arguments), mode)

            assert "Seq Scan" not in plan, (name, mode, plan)
            assert "Sort" not in plan, (name, mode, plan)
            assert "Bitmap" not in plan, (name, mode, plan)


async def test_an_instant_ends_the_search(filled: Pool) -> None:
    beyond = datetime(2100, 1, 1, tzinfo=UTC)
    lowest = UUID(int=int(beyond.timestamp() * 1000) << 80)
    bounds = (*BOUNDS[:2], lowest, beyond, BOUNDS[4])
    async with filled.acquire() as conn, conn.transaction():
        plan = await _explain(conn, interactions._PAGE, bounds, "force_generic_plan")

    assert "Rows Removed by Filter" not in plan, plan


async def test_a_page_holds_what_was_asked_for(filled: Pool) -> None:
    async def page(**filters: Any) -> list[UUID]:
        given: dict[str, Any] = {"session_id": None, "agent_id": None, "client": None, "project": None}
        async with filled.acquire() as conn:
            return await interactions.page(
                conn,
                ORGANIZATION,
                before=BOUNDS[1],
                lowest=BOUNDS[2],
                since=BOUNDS[3],
                limit=10,
                **given | filters,
            )

    everything = await page()
    of_all = await page(session_id=UUID(int=3), agent_id=UUID(int=3), client="key_3", project="project 3")

    assert everything == sorted(everything, reverse=True)
    assert len(everything) == 10
    number = {found: found.int - 1700000000000 for found in of_all}
    assert all(n % 500 == 3 and n % 20 == 3 and n % 7 == 3 and n % 30 == 3 for n in number.values())
    assert of_all


_OLD_RELEASE = """
DELETE FROM interactions;
INSERT INTO organizations (id, name, created_at)
VALUES ('00000000-0000-0000-0000-000000000001', 'Acme', now());
INSERT INTO agents (organization_id, id, name, latest_version, created_at)
VALUES ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002', 'Helper', 1, now());
INSERT INTO agent_versions (organization_id, agent_id, version, definition, published_at, published_by)
VALUES ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002', 1, '{}', now(), '{}');
INSERT INTO sessions (organization_id, id, agent_id, agent_version, created_at, context, metadata,
                      active_hour, state, revision, branch, turn_count, cursor, unfinished_count, updated_at,
                      document, deleted_at)
SELECT '00000000-0000-0000-0000-000000000001', lpad(n::text, 32, '0')::uuid,
       '00000000-0000-0000-0000-000000000002', 1, now(), '{}', metadata::json, now(), 'open', 1, 0, 0, 0, 0,
       now(), '{}', CASE WHEN n = 14 THEN now() END
  FROM (VALUES (11, '{"project": "spring"}'), (12, '{"project": 7}'), (13, '{}'),
               (14, '{"project": "gone"}'), (15, '{"project": ""}')) AS s(n, metadata);
INSERT INTO turns (organization_id, session_id, branch, position, id, created_at, state, revision, body)
VALUES ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000011', 0, 0,
        '00000000-0000-0000-0000-000000000021', now(), 'completed', 1,
        '{"created_by": {"key_id": "key_1"}}');
INSERT INTO steps (organization_id, id, session_id, turn_id, run_id, attempt, kind, purpose, speaker, model,
                   started_at, request, state)
SELECT '00000000-0000-0000-0000-000000000001', lpad(n::text, 32, '0')::uuid,
       lpad((n - 20)::text, 32, '0')::uuid, '00000000-0000-0000-0000-000000000021',
       '00000000-0000-0000-0000-000000000041', 1, CASE WHEN n = 33 THEN 'tool' ELSE 'model' END, 'reply',
       'Ada', 'm', now(), '{}', 'started'
  FROM generate_series(31, 35) AS n
"""

_NOTED = "SELECT id, session_id, agent_id, client, project FROM interactions ORDER BY id"


async def test_a_step_of_any_release_is_noted_and_so_are_those_that_were_there(pool: Pool) -> None:
    text = next(migrations_folder().glob("*_add_interactions.sql")).read_text()
    fill = text[text.index("INSERT INTO interactions", text.index("CREATE TRIGGER")) :].partition(";")[0]

    await pool.execute(_OLD_RELEASE)
    noted = await pool.fetch(_NOTED)
    await pool.execute("DELETE FROM interactions")
    await pool.execute(fill)

    # Not the tool call, not that of the deleted session, and only a project that is a text.
    assert [(row["id"].hex[-2:], row["client"], row["project"]) for row in noted] == [
        ("31", "key_1", "spring"),
        ("32", "key_1", None),
        ("35", "key_1", None),
    ]
    assert await pool.fetch(_NOTED) == noted
