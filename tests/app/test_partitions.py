"""Partitions are there before they are needed and leave when they are old; what is still needed stays."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from api.app import partitions
from api.app.partitions import Plan, floor, following, outdated, tend, wanted, width_for
from api.settings import Settings
from api.stopping import stopped
from api.store.base import utc_now
from api.store.interactions import Filters
from api.store.streaming import Cursor, Resync, Said, Told
from db import partitions as partitions_of_db
from db.partitions import PARENTS, PartitionRow, present
from db.pool import Pool
from tests.factories import make_world
from tests.store.conversing import Conversation
from tests.store.test_doctor import findings
from tests.store.test_streaming import Reader, require_whole

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

    # Were no partition dropped, the events would have to be there.
    await pool.execute("DELETE FROM partitions WHERE dropped_at IS NOT NULL")
    assert list(await findings(world)) == ["event density"]


async def come_and_go(pool: Pool, dropped: list[str]) -> None:
    """Divide deltas and steps into stretches of a second, and drop each soon after, until cancelled."""
    second = timedelta(seconds=1)
    async with pool.acquire() as conn:
        # The first partitions reach far ahead; what there is goes on in the rest.
        for parent in ("deltas", "steps"):
            assert await partitions_of_db.drop(conn, f"{parent}_first", kept_since=utc_now()) is not None
        while True:
            now = utc_now()
            for parent in ("deltas", "steps"):
                begin = now.replace(microsecond=0) + second
                await partitions_of_db.add(conn, parent, begins_at=begin, ends_at=begin + second)
            for row in await present(conn):
                if row.parent in ("deltas", "steps") and row.ends_at < now - second:
                    kept = await partitions_of_db.drop(conn, row.name, kept_since=now - 5 * second)
                    dropped += [row.name] * (kept is not None)
            await asyncio.sleep(0.1)


async def test_turns_go_on_and_readers_miss_nothing_while_partitions_come_and_go(pool: Pool) -> None:
    world = await make_world(pool)
    conversation = await Conversation.begin(world, pool)
    reader = Reader(conversation, Cursor(revision=0))
    # Beside it somebody thinks for long.
    slow = await Conversation.begin(world, pool)
    await slow.append()
    await slow.take_up()
    await slow.say("Let me think. ")
    dropped: list[str] = []
    turn_count = 0

    going = asyncio.create_task(come_and_go(pool, dropped))
    try:
        async with asyncio.timeout(_SECONDS_MAX):
            while len(dropped) < 6:
                assert not going.done(), going.exception()
                await conversation.append()
                await conversation.take_up()
                for piece in range(4):
                    await conversation.say(f"{turn_count}.{piece} ")
                    await reader.read_all()
                await (conversation.cancel() if turn_count % 5 == 4 else conversation.complete())
                await reader.read_all()
                turn_count += 1
    finally:
        await stopped(going)
    await slow.say("Yes.")
    kept = await slow.cancel()

    require_whole(reader.items, conversation, revision=1 + 2 * turn_count)
    assert kept.replies[0].text == "Let me think. Yes."
    assert await findings(world) == {}


async def test_the_ledger_refuses_to_be_dropped(pool: Pool) -> None:
    async with pool.acquire() as conn:
        with pytest.raises(asyncpg.RestrictViolationError, match="the ledger leaves by"):
            await conn.fetchval("SELECT drop_partition('usage_entries_first', now())")

    assert "usage_entries_first" in (await layout(pool))["usage_entries"]
