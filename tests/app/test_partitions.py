"""Partitions are there before they are needed and leave when they are old; what is still needed stays."""

import asyncio
import itertools
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg
import pytest

from api.app import partitions
from api.app.partitions import Plan, floor, following, outdated, tend, wanted, width_for
from api.events import Hub
from api.settings import Settings
from api.store import Store
from api.store.base import utc_now
from api.store.interactions import Filters
from api.store.streaming import Cursor, Resync, Said, Told
from db.migrate import migrate, migrations_folder
from db.partitions import PARENTS, PartitionRow, present
from db.pool import Connection, Pool, open_pool
from tests.factories import World, make_world
from tests.ledger import paid_turn
from tests.store.conversing import Conversation
from tests.store.test_doctor import findings

_SECONDS_MAX = 60

NOW = datetime(2026, 5, 20, 10, 30, tzinfo=UTC)
HOURLY = Plan(width="hour", kept_days=1 / 24)


def part(begins_at: datetime | None, ends_at: datetime, parent: str = "steps") -> PartitionRow:
    return PartitionRow(f"{parent}_{ends_at:%Y%m%dT%H}", parent, begins_at, ends_at, 0)


def hour(number: int) -> datetime:
    return NOW.replace(hour=number, minute=0)


@pytest.mark.parametrize(
    ("width", "begin", "end"),
    [
        ("hour", (5, 20, 10), (5, 20, 11)),
        ("day", (5, 20, 0), (5, 21, 0)),
        ("week", (5, 18, 0), (5, 25, 0)),
        ("month", (5, 1, 0), (6, 1, 0)),
        ("quarter", (4, 1, 0), (7, 1, 0)),
    ],
)
def test_a_stretch_begins_and_ends_with_the_calendar(width: str, begin: tuple, end: tuple) -> None:
    assert floor(NOW, width) == datetime(2026, *begin, tzinfo=UTC)
    assert following(floor(NOW, width), width) == datetime(2026, *end, tzinfo=UTC)


def test_years_and_quarters_follow_on_one_another_without_a_gap() -> None:
    for width, count in (("year", 8), ("quarter", 32), ("month", 96)):
        begin = datetime(2026, 1, 1, tzinfo=UTC)
        for _ in range(count):
            begin = following(begin, width)
            assert floor(begin, width) == begin
        assert begin == datetime(2034, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("days", "width"),
    [(1, "day"), (8, "day"), (9, "week"), (56, "week"), (90, "month"), (365, "quarter"), (3650, "year")],
)
def test_what_is_kept_lies_in_few_partitions(days: int, width: str) -> None:
    assert width_for(days) == width


def test_two_stretches_are_there_ahead() -> None:
    found = wanted(HOURLY, [part(None, hour(11))], now=NOW)

    assert found == [(hour(11), hour(12))]
    assert wanted(HOURLY, [part(None, hour(12))], now=NOW) == []
    assert wanted(HOURLY, [part(None, hour(12))], now=hour(11)) == [(hour(12), hour(13))]


def test_another_width_goes_on_where_the_one_before_ends() -> None:
    tomorrow = datetime(2026, 5, 21, tzinfo=UTC)

    found = wanted(Plan(width="quarter", kept_days=None), [part(None, tomorrow)], now=NOW)

    july, october = datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 10, 1, tzinfo=UTC)
    assert found == [(tomorrow, july), (july, october)]


def test_after_a_long_downtime_no_partition_is_made_of_the_past() -> None:
    found = wanted(HOURLY, [part(None, hour(10) - timedelta(days=400))], now=NOW)

    assert found == [(hour(10), hour(11)), (hour(11), hour(12))]


def test_a_partition_is_outdated_when_its_youngest_row_is() -> None:
    rows = [part(None, hour(9)), part(hour(9), hour(10)), part(hour(10), hour(11))]

    assert outdated(HOURLY, rows, now=NOW) == rows[:1]
    assert outdated(HOURLY, rows, now=hour(11)) == rows[:2]
    assert outdated(Plan(width="hour", kept_days=None), rows, now=NOW + timedelta(days=9999)) == []


def test_nothing_leaves_the_ledger_whatever_is_set() -> None:
    plans = partitions.plans(Settings(steps_kept_days=1, events_kept_days=1))

    assert set(plans) == set(PARENTS)
    assert [parent for parent, plan in plans.items() if plan.kept_days is None] == ["usage_entries"]


async def layout(pool: Pool) -> dict[str, list[str]]:
    async with pool.acquire() as conn:
        rows = await present(conn)
    return {parent: [row.name for row in rows if row.parent == parent] for parent in PARENTS}


async def count(pool: Pool, table: str) -> int:
    value: int = await pool.fetchval(f"SELECT count(*) FROM {table}")
    return value


PLANS = partitions.plans(Settings(steps_kept_days=30, events_kept_days=30))


async def later(pool: Pool, **time: float) -> None:
    """Look after the partitions as will be done in so long a time, often enough that none is missing."""
    await tend(pool, PLANS, now=utc_now())
    await tend(pool, PLANS, now=utc_now() + timedelta(**time))


async def test_several_processes_make_each_partition_once(pool: Pool) -> None:
    await asyncio.gather(*(tend(pool, PLANS, now=utc_now()) for _ in range(4)))
    await tend(pool, PLANS, now=utc_now())

    first = await layout(pool)
    await tend(pool, PLANS, now=utc_now())
    assert await layout(pool) == first
    assert all(len(names) >= 2 for names in first.values()), first


async def test_new_rows_lie_in_partitions_and_not_in_the_rest(pool: Pool) -> None:
    await tend(pool, PLANS, now=utc_now())
    conversation = await Conversation.begin(await make_world(pool), pool)
    await conversation.append()
    await conversation.take_up()
    await conversation.say("Hello.")
    await conversation.complete()

    for parent in PARENTS:
        assert await count(pool, parent) > 0
        assert await count(pool, f"{parent}_rest") == 0


async def test_deltas_of_final_turns_leave_with_their_partition(pool: Pool) -> None:
    conversation = await Conversation.begin(await make_world(pool), pool)
    await conversation.append()
    await conversation.take_up()
    await conversation.say("Hello.")
    await conversation.complete()

    await later(pool, minutes=30)
    assert await count(pool, "deltas") == 1

    await later(pool, hours=2.01)
    assert await count(pool, "deltas") == 0
    assert "deltas_first" not in (await layout(pool))["deltas"]


async def test_what_a_waiting_turn_has_said_outlives_its_partition(pool: Pool) -> None:
    conversation = await Conversation.begin(await make_world(pool), pool)
    await conversation.append()
    await conversation.take_up()
    await conversation.say("Let me ask.")
    (approval,) = await conversation.park()

    await later(pool, days=60)

    assert await count(pool, "deltas_rest") == 1
    assert await count(pool, "steps_rest") == 1
    # The turn goes on, and what it says is still told in order from the beginning.
    await conversation.world.decide(approval)
    await conversation.take_up()
    await conversation.say("Yes.")
    batch = await conversation.world.store.streaming.following(
        conversation.world.caller, conversation.session_id, None
    )
    said = [item for item in batch.items if isinstance(item, Said)]
    assert [(item.cursor.number, item.text) for item in said] == [(1, "Let me ask."), (2, "Yes.")]
    await conversation.complete()


async def test_a_reader_whose_events_have_left_reads_the_session_anew(pool: Pool) -> None:
    world = await make_world(pool)
    conversation = await Conversation.begin(world, pool)
    await conversation.append()
    await conversation.take_up()
    await conversation.complete()

    await later(pool, days=60)
    await conversation.rename()

    async def read(revision: int) -> list[object]:
        batch = await world.store.streaming.following(
            world.caller, conversation.session_id, Cursor(revision=revision)
        )
        return [type(item) for item in batch.items]

    assert await read(1) == [Resync]
    assert await read(2) == [Resync]
    assert await read(3) == [Told]
    # Nobody knows any more which turns changed: all are told.
    assert (await world.store.reading.since(world.caller, conversation.session_id, 1)).line_from == 0
    assert (await world.store.reading.since(world.caller, conversation.session_id, 3)).line_from is None


async def test_a_reader_is_not_led_past_an_event_that_left_before_an_earlier_one(pool: Pool) -> None:
    world = await make_world(pool)
    conversation = await Conversation.begin(world, pool)
    for _ in range(3):
        await conversation.rename()
    await pool.execute("DELETE FROM events WHERE revision = 3")

    batch = await world.store.streaming.following(world.caller, conversation.session_id, Cursor(revision=1))

    assert [item.cursor.revision for item in batch.items if isinstance(item, Told)] == [2]
    after = await world.store.streaming.following(world.caller, conversation.session_id, batch.cursor)
    assert [type(item) for item in after.items] == [Resync]
    assert (await world.store.reading.since(world.caller, conversation.session_id, 1)).line_from == 0


async def test_a_call_whose_step_has_left_is_still_listed_with_its_cost(pool: Pool) -> None:
    world = await make_world(pool)
    conversation = await Conversation.begin(world, pool)
    await conversation.append()
    await conversation.take_up()
    await conversation.complete()
    ((before,), _) = await world.store.interactions.listed(world.caller, Filters(), before=None, limit=10)

    await later(pool, days=60)

    assert await count(pool, "steps") == 0
    ((after,), _) = await world.store.interactions.listed(world.caller, Filters(), before=None, limit=10)
    assert after.turn == before.turn
    assert (after.usage, after.outcome, after.model) == (before.usage, before.outcome, before.model)
    whole = await world.store.interactions.interaction(world.caller, after.id)
    assert (whole.prompt, whole.response) == (None, None)
    assert whole.difference == "What was sent and answered is kept no longer."


async def test_the_doctor_knows_what_has_left_and_what_is_missing(pool: Pool) -> None:
    world = await make_world(pool)
    conversation = await Conversation.begin(world, pool)
    await conversation.append()
    await conversation.take_up()
    await conversation.complete()
    await later(pool, days=60)

    assert await findings(world) == {}

    # Had it changed since, there would be an event of that.
    await pool.execute("UPDATE sessions SET updated_at = now() + interval '70 days'")
    assert list(await findings(world)) == ["event density"]
    await pool.execute("UPDATE sessions SET updated_at = now()")

    # Were no partition dropped, the events would have to be there.
    await pool.execute("DELETE FROM partitions WHERE dropped_at IS NOT NULL")
    assert list(await findings(world)) == ["event density"]


async def test_the_ledger_refuses_to_be_dropped(pool: Pool) -> None:
    async with pool.acquire() as conn:
        with pytest.raises(asyncpg.RestrictViolationError, match="the ledger leaves by"):
            await conn.fetchval("SELECT drop_partition('usage_entries_first', now())")

    assert "usage_entries_first" in (await layout(pool))["usage_entries"]


async def test_a_busy_table_gets_its_partitions_later_and_without_a_gap(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, asked = partitions.partitions.add, []

    async def busy_at_first(conn: Connection, parent: str, **stretch: datetime) -> bool:
        asked.append(parent)
        if asked.count("usage_entries") > 1:
            return await add(conn, parent, **stretch)
        async with pool.acquire() as other, other.transaction():
            await other.execute("LOCK TABLE usage_entries IN SHARE UPDATE EXCLUSIVE MODE")
            return await add(conn, parent, **stretch)

    monkeypatch.setattr(partitions.partitions, "add", busy_at_first)
    for _ in range(3):
        await tend(pool, PLANS, now=utc_now())

    async with pool.acquire() as conn:
        found = [row for row in await present(conn) if row.parent == "usage_entries"]
    assert len(found) == 3
    assert [row.begins_at for row in found[1:]] == [row.ends_at for row in found[:-1]]


async def test_what_was_written_before_its_partition_was_made_moves_along(pool: Pool) -> None:
    ahead = timedelta(days=1000)
    numbers = itertools.count(1)

    def id_ahead() -> UUID:
        milliseconds = int((utc_now() + ahead).timestamp() * 1000)
        return UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | next(numbers))

    world = await make_world(pool)
    session_id = (await world.session()).session.id
    store = Store(pool, Hub(), clock=lambda: utc_now() + ahead, new_id=id_ahead)
    await paid_turn(World(store, world.hub, world.organization_id, world.caller, world.agent), session_id)
    assert await count(pool, "usage_entries_rest") == await count(pool, "steps_rest") == 1

    await tend(pool, partitions.plans(Settings()), now=utc_now() + ahead)

    for parent in ("steps", "events", "usage_entries"):
        assert await count(pool, f"{parent}_rest") == 0
        assert await count(pool, parent) > 0
    assert await findings(world) == {}
    with pytest.raises(asyncpg.RestrictViolationError):
        await pool.execute("DELETE FROM usage_entries")
    assert (
        await pool.fetchval(
            "SELECT tgenabled FROM pg_trigger"
            " WHERE tgrelid = 'usage_entries_rest'::regclass AND tgname = 'usage_entries_append_only'"
        )
        == b"O"
    )


async def test_too_much_to_be_moved_stays_where_it_is(pool: Pool) -> None:
    ahead = utc_now() + timedelta(days=1000)
    await pool.execute(
        "INSERT INTO events (organization_id, session_id, revision, type, at, actor, effects)"
        " SELECT gen_random_uuid(), gen_random_uuid(), 1, 'a', $1, '{}', '[]'"
        " FROM generate_series(1, 100001)",
        ahead,
    )

    await tend(pool, PLANS, now=ahead)

    assert await count(pool, "events_rest") == 100_001
    async with pool.acquire() as conn:
        (newest,) = [row for row in await present(conn) if row.parent == "events"][-1:]
    width = PLANS["events"].width
    assert newest.begins_at == following(floor(ahead, width), width)


async def test_an_upgrade_takes_rows_of_the_future_along_and_calls_that_are_prepared(
    admin: asyncpg.Connection, server_dsn: str, database_url: str, tmp_path: Path
) -> None:
    name = urlsplit(database_url).path.removeprefix("/") + "_before"
    dsn = urlunsplit(urlsplit(server_dsn)._replace(path=f"/{name}"))
    for file in migrations_folder().glob("*.sql"):
        if file.name < "0017":
            shutil.copy(file, tmp_path)
    await admin.execute(f'CREATE DATABASE "{name}"')
    try:
        await migrate(dsn, tmp_path)
        async with await open_pool(dsn, size_max=1) as old, old.acquire() as conn:
            # Ids that are no UUIDv7, as an import may bring them, and a clock that was ahead.
            await conn.execute(_FUTURE)
            entry, own, entry_id = await conn.prepare(_ENTRY), UUID(int=1 << 120), UUID(int=2)
            await entry.fetch(own, entry_id, own, None)
            rows = await conn.prepare(
                "SELECT (SELECT count(*) FROM steps), (SELECT count(*) FROM events),"
                " (SELECT count(*) FROM usage_entries), (SELECT count(*) FROM deltas)"
            )
            assert tuple(await rows.fetchrow()) == (2, 2, 1, 2)

            await migrate(dsn, migrations_folder())

            assert tuple(await rows.fetchrow()) == (2, 2, 1, 2)
            for table, moved in (("steps", 1), ("events", 1), ("usage_entries", 0), ("deltas", 1)):
                assert await conn.fetchval(f"SELECT count(*) FROM {table}_rest") == moved
            await entry.fetch(own, UUID(int=3), own, entry_id)
            assert tuple(await rows.fetchrow()) == (2, 2, 2, 2)
            with pytest.raises(asyncpg.UniqueViolationError):
                await entry.fetch(own, UUID(int=4), own, None)
            with pytest.raises(asyncpg.RestrictViolationError):
                await entry.fetch(own, UUID(int=5), own, UUID(int=6))
    finally:
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


_FUTURE = """
WITH ids AS (SELECT '01000000-0000-7000-8000-000000000001'::uuid AS own, id
               FROM (VALUES ('f47ac10b-58cc-4372-a567-0e02b2c3d479'::uuid),
                            ('01000000-0000-7000-8000-000000000000')) AS v(id)),
made AS (
    INSERT INTO steps (organization_id, id, session_id, turn_id, run_id, attempt, kind, purpose, speaker,
                       started_at, request, state)
    SELECT own, id, own, own, own, 1, 'tool', 'a', 'a', now(), '{}', 'started' FROM ids),
said AS (
    INSERT INTO deltas (organization_id, session_id, turn_id, number, step_id, kind, text_offset, text, at)
    SELECT own, own, id, 1, own, 'delta', 0, 'a', now() FROM ids)
INSERT INTO events (organization_id, session_id, revision, type, at, actor, effects)
SELECT own, own, day, 'a', now() + (day - 1) * interval '1 day', '{}', '[]'
  FROM ids, (VALUES (1), (3)) AS d(day)
 WHERE id = '01000000-0000-7000-8000-000000000000'
"""

_ENTRY = """
INSERT INTO usage_entries (organization_id, seq, id, session_id, turn_id, run_id, step_id, attempt,
                           corrects_id, speaker, purpose, provider, model, input_tokens, cached_tokens,
                           cache_write_tokens, output_tokens, reasoning_tokens, currency, source, outcome,
                           billable, billable_reason, created_at)
SELECT $1, (SELECT count(*) + 1 FROM usage_entries), $2, $1, $1, $1, $3, 1, $4, 'a', 'a', 'a', 'a', 1, 0,
       0, 1, 0, 'USD', 'unknown', 'completed', true, 'a', now()
"""
