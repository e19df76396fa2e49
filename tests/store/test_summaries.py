"""Sums over the ledger: every group, days of a time zone, and what was discarded told apart."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from api.session.document import Usage
from api.store.errors import UnknownTimeZone
from api.store.summaries import Summary
from db.pool import Pool
from tests.factories import World, make_world, rendered
from tests.ledger import call, claimed, entries_of, paid_turn, priced


async def summary(world: World, *group_by: str, **fields: Any) -> Summary:
    return await world.store.summaries.summary(
        world.caller,
        **{
            "since": None,
            "until": None,
            "time_zone": "UTC",
            "group_by": group_by,
            "head": None,
            "offset": 0,
            "limit": 100,
            **fields,
        },
    )


async def at(pool: Pool, seq: int, instant: datetime) -> None:
    """Move an entry in time, which only a test may."""
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("ALTER TABLE usage_entries DISABLE TRIGGER usage_entries_append_only")
        await conn.execute("UPDATE usage_entries SET created_at = $2 WHERE seq = $1", seq, instant)
        await conn.execute("ALTER TABLE usage_entries ENABLE TRIGGER usage_entries_append_only")


async def test_active_discarded_and_deleted_make_the_total(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    first = await paid_turn(world, session_id, "1")
    await paid_turn(world, session_id, "2")
    await paid_turn(world, session_id, "4")
    await world.store.sessions.rewind(
        world.caller, session_id, turn_id=first, expected=None, idempotency=None, render=rendered
    )
    rewound = await summary(world)
    await paid_turn(world, session_id, "8")
    doomed = (await world.session()).session.id
    await paid_turn(world, doomed, "16")
    await world.store.sessions.erase(world.caller, doomed, expected=None)

    found = await summary(world)

    (group,) = found.groups
    costs = {name: getattr(group, name).cost for name in ("total", "active", "discarded", "deleted")}
    assert costs == {"total": 31, "active": 9, "discarded": 6, "deleted": 16}
    assert [group.active.call_count, group.discarded.call_count, group.deleted.call_count] == [2, 2, 1]
    # Behind a moved cursor nothing is discarded yet.
    assert rewound.groups[0].active.cost == 7

    await world.store.sessions.restore(
        world.caller, session_id, ordinal=1, expected=None, idempotency=None, render=rendered
    )
    (restored,) = (await summary(world)).groups
    assert (restored.active.cost, restored.discarded.cost) == (7, 8)


async def test_every_dimension_makes_its_groups(pool: Pool) -> None:
    world = await make_world(pool)
    one, other = [(await world.session()).session.id for _ in range(2)]
    await paid_turn(world, one, "1")
    await world.append(other, 1)
    claim = await claimed(world)
    await call(world, claim, priced("2", model="other"), purpose="memory")
    await call(world, claim, priced("4", outcome="failed", is_billable=False, billable_reason="failed"))
    entries = await entries_of(world)

    by = {name: (await summary(world, name)).groups for name in ("model", "agent", "session", "key")}
    both = (await summary(world, "purpose", "outcome")).groups

    assert [(group.model, group.total.cost) for group in by["model"]] == [
        ("scripted:echo", 5),
        ("scripted:other", 2),
    ]
    assert [(group.agent_id, group.total.cost) for group in by["agent"]] == [(world.agent.id, 7)]
    assert {group.session_id: group.total.cost for group in by["session"]} == {one: 1, other: 6}
    assert [(group.key_id, group.total.cost) for group in by["key"]] == [(entries[0].key_id, 7)]
    assert [(group.purpose, group.outcome, group.total.cost) for group in both] == [
        ("memory", "completed", 2),
        ("reply", "completed", 1),
        ("reply", "failed", 4),
    ]
    (whole,) = (await summary(world)).groups
    assert (whole.total.cost, whole.total.billable_cost, whole.total.call_count) == (7, 3, 3)


async def test_a_day_is_a_day_of_the_time_zone(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    for _ in range(2):
        await paid_turn(world, session_id, "1")
    # In Berlin the clocks went back on this day, so that it had 25 hours: 22:00 UTC to 23:00 UTC.
    await at(pool, 1, datetime(2026, 10, 24, 22, 0, tzinfo=UTC))
    await at(pool, 2, datetime(2026, 10, 25, 22, 59, tzinfo=UTC))

    berlin = await summary(world, "day", time_zone="Europe/Berlin")
    utc = await summary(world, "day")
    of_that_day = await summary(
        world, time_zone="Europe/Berlin", since=date(2026, 10, 25), until=date(2026, 10, 26)
    )
    before = await summary(world, time_zone="Europe/Berlin", until=date(2026, 10, 25))

    assert [(group.day, group.total.call_count) for group in berlin.groups] == [("2026-10-25", 2)]
    assert [group.day for group in utc.groups] == ["2026-10-24", "2026-10-25"]
    assert of_that_day.groups[0].total.call_count == 2
    assert before.groups == ()


async def test_pages_hold_every_group_once_under_one_head(pool: Pool) -> None:
    world = await make_world(pool)
    sessions = [(await world.session()).session.id for _ in range(5)]
    for session_id in sessions:
        await paid_turn(world, session_id, "1")

    first = await summary(world, "session", limit=2)
    late = (await world.session()).session.id
    await paid_turn(world, late, "1")
    second = await summary(world, "session", limit=2, head=first.head, offset=2)
    third = await summary(world, "session", limit=2, head=first.head, offset=4)

    assert [page.is_last for page in (first, second, third)] == [False, False, True]
    told = [group.session_id for page in (first, second, third) for group in page.groups]
    assert sorted(told, key=str) == sorted(sessions)
    assert {page.head for page in (first, second, third)} == {5}


async def test_unknown_costs_and_corrections_add_up_with_the_totals(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    await paid_turn(world, session_id, None)
    await paid_turn(world, session_id, "0.1")
    await world.append(session_id, None)
    await call(
        world,
        await claimed(world),
        priced(tokens=Usage(input_tokens=9, output_tokens=9, cost=Decimal("0.000000000001"))),
    )

    (group,) = (await summary(world)).groups

    totals = await world.store.reading.usage_totals(world.caller)
    assert group.total.cost == totals.usage.cost == Decimal("0.100000000001")
    assert group.total.unknown_count == totals.usage.unknown_count == 1
    assert group.total.call_count == totals.call_count == 3


async def test_a_time_zone_that_there_is_not_is_refused(pool: Pool) -> None:
    world = await make_world(pool)

    for name in ("Europe/Atlantis", "EST+3", "utc", "Foo/Bar+3", ""):
        with pytest.raises(UnknownTimeZone):
            await summary(world, time_zone=name)
