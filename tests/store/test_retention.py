"""Text goes when its organization's time for it is over, and not before."""

from datetime import datetime, timedelta

import pytest

from api.app.sweeps import erase_due
from api.store import NotFound, StoredAnswer
from api.store.base import utc_now
from api.store.interactions import Capture
from api.store.retention import GRACE_SECONDS, ROUND_MAX
from db.pool import Pool
from tests.factories import World, make_world
from tests.store.test_doctor import findings
from tests.store.test_erasure import holding

WORD = "canary-41d7"


class Clock:
    """A clock that a test sets; runners, which have none, go by the real one, so it begins there."""

    def __init__(self) -> None:
        self.now = utc_now()

    def __call__(self) -> datetime:
        return self.now


async def keeping(pool: Pool, days: int | None, *, clock: Clock, name: str = "Acme") -> World:
    """An organization that keeps text for so long."""
    world = await make_world(pool, clock=clock, name=name)
    await world.store.retention.set_policy(world.caller, content_days=days)
    return world


async def said(world: World) -> str:
    session_id = (await world.session()).session.id
    await world.append(session_id, None, f"{WORD} hello")
    await world.answer()
    return session_id


async def is_there(world: World, session_id: str) -> bool:
    try:
        await world.store.reading.revision(world.caller, session_id)
    except NotFound:
        return False
    return True


@pytest.mark.parametrize(("days", "hours", "is_kept"), [(2, 47, True), (2, 49, False), (None, 9_999, True)])
async def test_a_session_goes_when_its_days_are_over(
    pool: Pool, days: int | None, hours: int, is_kept: bool
) -> None:
    clock = Clock()
    world = await keeping(pool, days, clock=clock)
    session_id = await said(world)
    clock.now += timedelta(hours=hours)

    count = await erase_due(world.store)

    assert count == (0 if is_kept else 1)
    assert await is_there(world, session_id) == is_kept
    assert (await holding(pool, WORD) != {}) == is_kept
    assert await findings(world) == {}


async def test_text_that_is_not_kept_at_all_goes_after_its_turn(pool: Pool) -> None:
    clock = Clock()
    world = await keeping(pool, 0, clock=clock)
    answered = await said(world)
    clock.now += timedelta(seconds=GRACE_SECONDS - 10)
    early = await erase_due(world.store)
    waiting = (await world.session()).session.id
    await world.append(waiting, None, "Still being answered")
    clock.now += timedelta(seconds=GRACE_SECONDS + 10)

    late = await erase_due(world.store)

    assert (early, late) == (0, 1)
    assert (await is_there(world, answered), await is_there(world, waiting)) == (False, True)


async def test_a_session_that_is_used_again_meanwhile_stays(pool: Pool) -> None:
    clock = Clock()
    world = await keeping(pool, 1, clock=clock)
    session_id = await said(world)
    clock.now += timedelta(days=2)
    (due,) = await world.store.retention.due()

    await world.store.sessions.update(
        world.caller, session_id, name="Back", metadata=None, metadata_bytes_max=9, expected=None
    )

    assert not await world.store.retention.erase_due(due)
    assert await is_there(world, session_id)


async def test_each_organization_keeps_its_own_time(pool: Pool) -> None:
    clock = Clock()
    short, long = await keeping(pool, 1, clock=clock), await keeping(pool, 30, clock=clock, name="Long")
    gone, kept = await said(short), await said(long)
    clock.now += timedelta(days=3)

    await erase_due(short.store)

    assert not await is_there(short, gone)
    assert await is_there(long, kept)


async def test_what_fell_due_in_a_long_downtime_goes_in_rounds_of_a_bounded_size(pool: Pool) -> None:
    clock = Clock()
    worlds = [await keeping(pool, 1, clock=clock, name=f"Acme {number}") for number in range(6)]
    for world in worlds:
        for _ in range(60):
            await world.session(name=WORD)
    clock.now += timedelta(days=400)
    rounds = []

    while count := await erase_due(worlds[0].store):
        rounds.append(count)

    assert sum(rounds) == 360
    assert max(rounds) <= ROUND_MAX
    assert await holding(pool, WORD) == {}


async def test_captured_calls_of_no_session_go_as_well(pool: Pool) -> None:
    clock = Clock()
    world, keeps = await keeping(pool, 2, clock=clock), await keeping(pool, None, clock=clock, name="Keeps")
    for each in (world, keeps):
        await each.store.interactions.capture(
            each.caller,
            Capture(prompt=WORD, model="m", metadata={}),
            idempotency=None,
            render=lambda *_: StoredAnswer(status=201, headers={}, body=b""),
        )
    early = await erase_due(world.store)
    clock.now += timedelta(days=3)

    late = await erase_due(world.store)

    assert (early, late) == (0, 1)
    assert await holding(pool, WORD) == {"captured_interactions": 1}


async def test_a_deleted_session_is_not_looked_at_again(pool: Pool) -> None:
    clock = Clock()
    world = await keeping(pool, 1, clock=clock)
    await said(world)
    clock.now += timedelta(days=2)
    await erase_due(world.store)

    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("SET LOCAL enable_seqscan = off")
        plan = await conn.fetch(
            "EXPLAIN SELECT id FROM sessions WHERE organization_id = $1 AND deleted_at IS NULL"
            " AND active_hour <= $2 ORDER BY active_hour LIMIT 5",
            world.caller.organization_id,
            clock.now,
        )

    assert await world.store.retention.due() == []
    assert "sessions_kept_by_hour" in str(plan)
