"""Statements that find a few rows among many read a few rows, by plans made for full tables."""

from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from api.store.base import utc_now
from api.store.running import Claim
from db import runs, sessions
from db.pool import Connection, Pool
from tests.factories import make_world
from tests.store.test_races import _key as key
from tests.store.test_races import intent

_BACKLOG = 3_000


async def plan_of(pool: Pool, statement: str, *arguments: object) -> list[dict[str, Any]]:
    """Carry a statement out and take it back; answers the nodes of its plan with what they have read."""
    async with pool.acquire() as conn:
        transaction = conn.transaction()
        await transaction.start()
        told = await conn.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *arguments)
        await transaction.rollback()
    nodes, waiting = [], [msgspec.json.decode(told)[0]["Plan"]]
    while waiting:
        node = waiting.pop()
        waiting += node.get("Plans", ())
        nodes.append(node)
    return nodes


def rows_read(nodes: list[dict[str, Any]], table: str) -> float:
    """How many rows of a table were looked at, those that a filter dropped among them."""
    return sum(
        node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
        for node in nodes
        if node.get("Relation Name") == table and "Scan" in node["Node Type"]
    )


async def multiply(pool: Pool) -> None:
    """Copy the one session with its turn, its step and its key, so that there is a backlog."""
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute(
            f"""
            CREATE TEMP TABLE made ON COMMIT DROP AS
            SELECT gen_random_uuid() AS session_id, gen_random_uuid() AS turn_id
              FROM generate_series(1, {_BACKLOG})
            """
        )
        for table, replaced in {
            "sessions": {"id": "m.session_id", "active_turn_id": "m.turn_id"},
            "turns": {"id": "m.turn_id", "session_id": "m.session_id"},
            "steps": {"id": "gen_random_uuid()", "turn_id": "m.turn_id", "session_id": "m.session_id"},
            "idempotency_keys": {"key": "m.turn_id", "turn_id": "m.turn_id", "session_id": "m.session_id"},
        }.items():
            await _copy(conn, table, replaced)
    await pool.execute("ANALYZE")


async def _copy(conn: Connection, table: str, replaced: dict[str, str]) -> None:
    columns = [
        row[0]
        for row in await conn.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 ORDER BY attnum",
            table,
        )
    ]
    values = ", ".join(replaced.get(column, f"o.{column}") for column in columns)
    await conn.execute(f"INSERT INTO {table} SELECT {values} FROM {table} o, made m")


async def test_a_claim_reads_a_few_turns_and_not_the_backlog(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    await world.append(session_id, 1)
    await multiply(pool)

    nodes = await plan_of(pool, runs._CLAIM, uuid4(), "test", 15, 64)

    assert rows_read(nodes, "turns") <= 100
    assert rows_read(nodes, "sessions") <= 200


async def test_a_claim_that_met_another_looks_for_the_next_turn(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    await world.append(session_id, 1)
    claim, failures = runs.claim, [asyncpg.UniqueViolationError("runs_running")]

    async def met(*args: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return await claim(*args, **options)

    monkeypatch.setattr(runs, "claim", met)

    assert isinstance(await world.store.running.claim(runner="test", lease_seconds=15), Claim)


async def test_a_deletion_reads_what_is_of_its_session(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session(idempotency=key(1))).session.id
    await world.append(session_id, 1)
    claim = await world.store.running.claim(runner="test", lease_seconds=15)
    assert claim is not None
    assert await world.store.running.start_step(claim, intent(world.store.running.new_step_id()))
    await multiply(pool)

    nodes = await plan_of(pool, sessions._ERASE, claim.organization_id, claim.session_id, 2, utc_now())

    assert rows_read(nodes, "steps") <= 10
    assert rows_read(nodes, "idempotency_keys") <= 10
