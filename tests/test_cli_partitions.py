"""`turnledger partitions`: what there is, and how old years of the ledger leave the database."""

import asyncio
import itertools
import json
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from api.app.partitions import plans, tend
from api.cli import partitions
from api.cli.failures import CommandFailed
from api.events import Hub
from api.routes.schemas.interactions import interaction_view
from api.settings import Settings
from api.store import Store, StoredAnswer
from api.store.base import utc_now
from api.store.corrections import Corrected
from api.store.interactions import Filters
from api.store.ledger import UsageEntry
from db import archives, usage
from db.partitions import PartitionRow
from db.pool import Connection, Pool
from tests.factories import World, make_world
from tests.ledger import entries_of, paid_turn
from tests.routes.service import client_of, make_app, make_state
from tests.store.test_doctor import findings
from tests.test_cli import command, done

LONG_AGO = utc_now() - timedelta(days=200)
_numbers = itertools.count(1)


def old_id() -> UUID:
    """A UUIDv7 of a moment long ago."""
    milliseconds = int(LONG_AGO.timestamp() * 1000)
    return UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | next(_numbers))


async def divided(pool: Pool) -> None:
    """Have the first partition of the empty ledger end a hundred days ago, and another one begin there."""
    end = utc_now() - timedelta(days=100)
    async with pool.acquire() as conn, conn.transaction():
        bound = await conn.fetchval("SELECT lowest_uuid($1)", end)
        await conn.execute("ALTER TABLE usage_entries DETACH PARTITION usage_entries_first")
        await conn.execute(
            "ALTER TABLE usage_entries ATTACH PARTITION usage_entries_first "
            f"FOR VALUES FROM (MINVALUE) TO ('{bound}')"
        )
        await conn.execute("UPDATE partitions SET ends_at = $1 WHERE name = 'usage_entries_first'", end)
    await tend(pool, plans(Settings()), now=utc_now())


def long_ago(world: World, pool: Pool) -> World:
    """The same organization, long ago."""
    store = Store(pool, Hub(), clock=lambda: LONG_AGO, new_id=old_id)
    return World(store, world.hub, world.organization_id, world.caller, world.agent)


async def lived_in(pool: Pool, *, late_count: int = 2) -> World:
    """An organization with three calls of long ago and two of today, in one session."""
    await divided(pool)
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    then = long_ago(world, pool)
    for cost in ("0.01", "0.02", None):
        await paid_turn(then, session_id, cost)
    for _ in range(late_count):
        await paid_turn(world, session_id)
    assert await pool.fetchval("SELECT count(*) FROM usage_entries_first") == 3
    return world


@pytest.fixture
def installation(database_url: str) -> dict[str, str]:
    """The environment of an installation with an external, empty database."""
    return {"TURNLEDGER_DATABASE_URL": database_url}


def archive(installation: dict[str, str], folder: Path, *, days_ago: int = 90) -> str:
    """Archive what ends by then; tells what the command said."""
    day = f"{utc_now() - timedelta(days=days_ago):%Y-%m-%d}"
    return done("partitions", "archive", "--before", day, "--output", str(folder), environ=installation)


async def test_the_table_says_what_lies_where_and_until_when(installation: dict[str, str]) -> None:
    shown = done("partitions", environ={**installation, "TURNLEDGER_STEPS_KEPT_DAYS": "30"})

    (steps,) = [line for line in shown.splitlines() if "steps_first" in line]
    (ledger,) = [line for line in shown.splitlines() if "usage_entries_first" in line]
    assert "until " in steps
    assert "for good" in ledger


async def test_old_entries_leave_for_a_file_and_the_sums_stay(
    pool: Pool, installation: dict[str, str], tmp_path: Path
) -> None:
    world = await lived_in(pool)
    before = await world.store.reading.usage_totals(world.caller)
    entries = await entries_of(world)

    said = archive(installation, tmp_path / "old")

    assert "3 entries" in said
    lines = [
        json.loads(line) for line in (tmp_path / "old/usage_entries_first.jsonl").read_text().splitlines()
    ]
    assert [line["id"] for line in lines] == [entry.id for entry in entries[:3]]
    assert {line["organization_id"] for line in lines} == {world.organization_id}
    assert [line["cost"] for line in lines] == ["0.01", "0.02", None]
    page = await world.store.reading.ledger_page(world.caller, after=0, session_id=None, limit=10)
    assert ([entry.seq for entry in page.entries], page.head, page.archived_through) == ([4, 5], 5, 3)
    assert await world.store.reading.usage_totals(world.caller) == before
    assert await findings(world) == {}
    await paid_turn(world, (await world.session()).session.id)
    assert await findings(world) == {}


async def test_a_feed_whose_entries_have_all_left_comes_to_its_end(
    pool: Pool, installation: dict[str, str], tmp_path: Path
) -> None:
    world = await lived_in(pool, late_count=0)
    archive(installation, tmp_path)

    async with client_of(world, make_app(make_state(world))) as api:
        page = await api.get("/v1/usage/entries?after=0")
        of_session = await api.get(f"/v1/usage/entries?after=0&session_id=ses_{'0' * 32}")

    assert page == {"items": [], "next": 3, "head": 3, "archived_through": 3}
    assert of_session["next"] == of_session["head"]


async def test_what_leaves_while_a_page_is_read_is_told(
    pool: Pool, installation: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await lived_in(pool)
    heads = [await read_head(pool, world), None]

    async def as_it_was(conn: Connection, organization_id: UUID) -> usage.HeadRow:
        return heads.pop(0) or await head(conn, organization_id)

    head = usage.head
    archive(installation, tmp_path)
    monkeypatch.setattr(usage, "head", as_it_was)
    page = await world.store.reading.ledger_page(world.caller, after=0, session_id=None, limit=10)

    assert ([entry.seq for entry in page.entries], page.archived_through) == ([4, 5], 3)
    assert heads == [], "it was looked at again"


async def read_head(pool: Pool, world: World) -> usage.HeadRow:
    async with pool.acquire() as conn:
        return await usage.head(conn, world.caller.organization_id)


async def test_the_doctor_misses_what_left_without_a_trace(
    pool: Pool, installation: dict[str, str], tmp_path: Path
) -> None:
    world = await lived_in(pool)
    archive(installation, tmp_path)

    await pool.execute("DELETE FROM archived_usage")
    await pool.execute("UPDATE organization_ledgers SET archived_count = 0")

    assert {"ledger density", "organization totals", "session totals"} <= (await findings(world)).keys()


async def test_a_budget_of_all_time_counts_what_has_left(
    pool: Pool, installation: dict[str, str], tmp_path: Path
) -> None:
    world = await lived_in(pool)
    archive(installation, tmp_path)

    state = await world.store.budgets.put(
        world.caller,
        key_id=None,
        period="total",
        time_zone="UTC",
        limit=Decimal(1),
        warn_at=None,
        reserve_per_call=Decimal(0),
    )

    assert state.spent == Decimal("0.05")
    assert await findings(world) == {}


async def test_a_budget_counts_what_it_had_not_counted_before_it_left(pool: Pool) -> None:
    await divided(pool)
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    then = long_ago(world, pool)
    await paid_turn(then, session_id, "0.01")
    state = await world.store.budgets.put(
        world.caller,
        key_id=None,
        period="total",
        time_zone="UTC",
        limit=Decimal(1),
        warn_at=None,
        reserve_per_call=Decimal(0),
    )
    assert await world.store.budgets.budgets(world.caller) == [state]  # and remembers what it counted
    await paid_turn(then, session_id, "0.02")
    (part,) = await world.store.archiving.due(before=utc_now() - timedelta(days=90))

    await world.store.archiving.leave(part, entry_count=2)

    for _ in range(2):
        (later,) = await world.store.budgets.budgets(world.caller)
        assert (state.spent, later.spent) == (Decimal("0.01"), Decimal("0.03"))
        assert await findings(world) == {}


async def test_what_was_corrected_of_late_does_not_leave(pool: Pool) -> None:
    world = await lived_in(pool)
    entries = await entries_of(world)
    await world.store.corrections.correct(
        world.caller,
        entries[0].id,
        Corrected(cost=Decimal("0.5"), reason="A mistake."),
        idempotency=None,
        render=lambda entry: StoredAnswer(status=201, headers={}, body=entry.id.encode()),
    )
    (part,) = await world.store.archiving.due(before=utc_now() - timedelta(days=90))

    with pytest.raises(archives.PartitionChanged, match="of the last 62 days"):
        await world.store.archiving.leave(part, entry_count=4)

    assert len(await entries_of(world)) == 6
    assert await findings(world) == {}


async def test_a_ledger_in_use_is_left_alone_and_no_file_stays(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await lived_in(pool)
    (part,) = await world.store.archiving.due(before=utc_now() - timedelta(days=90))

    async def busy(*_: object, **__: object) -> None:
        raise asyncpg.LockNotAvailableError("held by somebody else")

    monkeypatch.setattr(world.store.archiving, "leave", busy)
    with pytest.raises(CommandFailed, match="too busy"):
        await partitions._let_go(world.store, part, tmp_path / "old.jsonl")

    assert os.listdir(tmp_path) == []


async def test_half_a_file_does_not_stay(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = await lived_in(pool)
    (part,) = await world.store.archiving.due(before=utc_now() - timedelta(days=90))

    async def broken_off(_: PartitionRow) -> AsyncIterator[tuple[str, UsageEntry]]:
        yield world.organization_id, (await entries_of(world))[0]
        raise OSError("connection lost")

    monkeypatch.setattr(world.store.archiving, "entries", broken_off)
    with pytest.raises(OSError, match="connection lost"):
        await partitions._let_go(world.store, part, tmp_path / "old.jsonl")

    assert os.listdir(tmp_path) == []
    assert len(await entries_of(world)) == 5


async def test_who_uses_the_ledger_for_a_moment_is_waited_for(pool: Pool) -> None:
    world = await lived_in(pool)
    (part,) = await world.store.archiving.due(before=utc_now() - timedelta(days=90))

    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("SELECT FROM usage_entries LIMIT 1")
        leaving = asyncio.create_task(world.store.archiving.leave(part, entry_count=3))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(leaving), 0.5)
    await leaving

    page = await world.store.reading.ledger_page(world.caller, after=0, session_id=None, limit=10)
    assert ([entry.seq for entry in page.entries], page.archived_through) == ([4, 5], 3)
    assert await findings(world) == {}


async def test_a_call_whose_step_and_entry_have_left_is_still_listed(pool: Pool) -> None:
    world = await lived_in(pool)
    (part,) = await world.store.archiving.due(before=utc_now() - timedelta(days=90))
    await world.store.archiving.leave(part, entry_count=3)
    await pool.execute("DELETE FROM steps WHERE id < (SELECT lowest_uuid(now() - interval '90 days'))")

    told, _ = await world.store.interactions.listed(world.caller, Filters(), before=None, limit=10)

    assert len(told) == 5
    for one in told[2:]:
        whole = await world.store.interactions.interaction(world.caller, one.id)
        assert (whole.summary, whole.prompt) == (one, None)
        assert interaction_view(whole).id == one.id


async def test_nothing_leaves_that_was_not_written(pool: Pool) -> None:
    world = await lived_in(pool)
    (part,) = await world.store.archiving.due(before=utc_now() - timedelta(days=90))

    with pytest.raises(archives.PartitionChanged):
        await world.store.archiving.leave(part, entry_count=2)

    assert len(await entries_of(world)) == 5
    await world.store.archiving.leave(part, entry_count=3)
    with pytest.raises(archives.PartitionChanged):
        await world.store.archiving.leave(part, entry_count=3)


async def test_young_entries_do_not_leave(pool: Pool, installation: dict[str, str], tmp_path: Path) -> None:
    world = await lived_in(pool)

    today = command(
        *("partitions", "archive", "--before", f"{utc_now():%Y-%m-%d}", "--output", str(tmp_path)),
        environ=installation,
    )
    said = archive(installation, tmp_path, days_ago=110)

    assert today.returncode == 1
    assert "older than 62 days" in today.stderr
    assert "No stretch" in said
    assert len(await entries_of(world)) == 5


async def test_a_file_that_is_there_is_not_written_over(
    pool: Pool, installation: dict[str, str], tmp_path: Path
) -> None:
    await lived_in(pool)
    (tmp_path / "usage_entries_first.jsonl").write_text("precious")
    day = f"{utc_now() - timedelta(days=90):%Y-%m-%d}"

    outcome = command(
        "partitions", "archive", "--before", day, "--output", str(tmp_path), environ=installation
    )

    assert outcome.returncode == 1
    assert "is there already" in outcome.stderr
    assert (tmp_path / "usage_entries_first.jsonl").read_text() == "precious"
    assert await pool.fetchval("SELECT count(*) FROM usage_entries") == 5
