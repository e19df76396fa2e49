"""Every SQL constant is prepared on a real server; the hot ones find their rows by index."""

import importlib
import pkgutil
import re

import asyncpg
import pytest

import db

_GROWING = (
    "sessions",
    "turns",
    "events",
    "branches",
    "steps",
    "runs",
    "deltas",
    "usage_entries",
    "approvals",
    "interactions",
    "api_keys",
)
_EXEMPT_MODULES = {"embedded", "postgres_binaries", "migrate", "pool", "row_security"}

HOT = {
    ("sessions", "_LOAD"),
    ("sessions", "_LOCK"),
    ("sessions", "_REVISION"),
    ("turns", "_LINE"),
    ("turns", "_STRETCHES"),
    ("turns", "_STANDING"),
    ("turns", "_BY_ID"),
    ("commits", "_SWAP"),
    ("events", "_AFTER"),
    ("events", "_LINE_FROM"),
    ("futures", "_OPEN"),
    ("keys", "_FIND"),
    ("runs", "_CLAIM"),
    ("runs", "_LEAKED"),
    ("runs", "_HEARTBEAT"),
    ("runs", "_START_STEP"),
    ("runs", "_STEPS"),
    ("runs", "_END_STEP"),
    ("runs", "_LOCK_CURRENT"),
    ("deltas", "_FLUSH"),
    ("deltas", "_SHOWN"),
    ("deltas", "_AFTER"),
    ("deltas", "_NEWS"),
    ("deltas", "_PLACE"),
    ("retention", "_DUE"),
    ("retention", "_FORGET_CAPTURED"),
    ("exports", "_TURNS"),
    ("exports", "_STEPS"),
    ("usage", "_OF_SESSION"),
    ("approvals", "_DECIDE"),
    ("approvals", "_CLOSE"),
    ("approvals", "_BY_ID"),
    ("approvals", "_LIST"),
    ("approvals", "_LIST_OPEN"),
    ("approvals", "_EXPIRED"),
    ("interactions", "_PAGE"),
    ("interactions", "_PAGE_OF_SESSION"),
    ("interactions", "_PAGE_OF_PROJECT"),
    ("interactions", "_PAGE_OF_AGENT"),
    ("interactions", "_PAGE_OF_CLIENT"),
    ("interactions", "_SUMMARIES"),
    ("interactions", "_LINES"),
    ("key_limits", "_TOKENS"),
    ("usage", "_SETTLE"),
    ("budgets", "_ARE_THERE"),
    ("budgets", "_BEGINNING"),
    ("budgets", "_STATES"),
    ("corrections", "_CHAIN"),
    ("idle", "_IDLE"),
    ("metrics", "_GROUPS"),
    ("metrics", "_SESSION"),
    ("summaries", "_SUMMARY"),
    ("usage", "_ENTRIES"),
    ("usage", "_ENTRIES_OF_SESSION"),
    ("usage", "_OF_STRETCHES"),
    ("api_keys", "_FIND"),
}


def statements() -> dict[tuple[str, str], str]:
    """Every statement of the package, by module and name."""
    found = {}
    for module in pkgutil.iter_modules(db.__path__):
        if module.name in _EXEMPT_MODULES:
            continue
        for name, value in vars(importlib.import_module(f"db.{module.name}")).items():
            if re.fullmatch(r"_[A-Z_]+", name) and isinstance(value, str):
                found[module.name, name] = value
    return found


def full_scans(plan: str) -> list[str]:
    """The growing tables, or partitions of them, that a plan reads from end to end."""
    scanned = re.findall(r"Seq Scan on (\w+)", plan)
    return [name for name in scanned if name.startswith(_GROWING)]


def test_a_full_scan_is_seen() -> None:
    assert full_scans("Nested Loop\n  ->  Seq Scan on turns t\n  ->  Seq Scan on swapped") == ["turns"]


def test_the_hot_statements_are_there() -> None:
    assert statements().keys() >= HOT


@pytest.mark.parametrize("key", sorted(statements()), ids=".".join)
async def test_every_statement_can_be_prepared(pool: asyncpg.Pool, key: tuple[str, str]) -> None:
    async with pool.acquire() as conn:
        parameters = (await conn.prepare(statements()[key])).get_parameters()

    numbers = {int(number) for number in re.findall(r"\$(\d+)", statements()[key])}
    assert numbers == set(range(1, len(parameters) + 1))


@pytest.mark.parametrize("key", sorted(HOT), ids=".".join)
async def test_hot_statements_read_no_growing_table_from_end_to_end(
    pool: asyncpg.Pool, key: tuple[str, str]
) -> None:
    statement = statements()[key]
    # On empty tables a scan would be cheapest; forbidden, it remains only where no index serves.
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("SET LOCAL enable_seqscan = off")
        plan = await explain(conn, statement)

    assert full_scans(plan) == [], plan


async def explain(conn: asyncpg.Connection, statement: str) -> str:
    """The generic plan: the one that does not look at the values, which are null here."""
    await conn.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    await conn.execute(f"PREPARE explained AS {statement}")
    count = max(int(number) for number in re.findall(r"\$(\d+)", statement))
    rows = await conn.fetch(f"EXPLAIN EXECUTE explained ({', '.join(['NULL'] * count)})")
    await conn.execute("DEALLOCATE explained")
    return "\n".join(row[0] for row in rows)
