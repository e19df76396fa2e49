"""Claims are fair between organizations, and leaked calls are settled."""

import asyncio
import random

from api.runner.leaks import settle_leaked
from api.store.running import Claim
from db.pool import Pool
from tests.factories import World, completing, make_world, rendered
from tests.store.test_races import intent, outcome


async def waiting(world: World, turn_count: int) -> None:
    """Sessions with a pending turn each."""
    for _ in range(turn_count):
        await world.append((await world.session()).session.id, 1)


async def claim(world: World, *, organization_turns_max: int = 1_000) -> Claim | None:
    return await world.store.running.claim(
        runner="test", lease_seconds=15, organization_turns_max=organization_turns_max
    )


async def test_an_organization_with_a_backlog_does_not_hold_up_the_others(pool: Pool) -> None:
    busy, calm = await make_world(pool, name="Busy"), await make_world(pool, name="Calm")
    await waiting(busy, 20)
    await waiting(calm, 2)

    owners = []
    for _ in range(4):
        claimed = await claim(busy)
        assert claimed is not None
        owners.append("busy" if claimed.organization_id == busy.caller.organization_id else "calm")

    assert owners == ["busy", "calm", "busy", "calm"]


async def test_with_one_place_many_organizations_are_served_in_the_order_of_waiting(pool: Pool) -> None:
    worlds = [await make_world(pool, name=f"Organization {number}") for number in range(12)]
    random.Random(1).shuffle(worlds)
    for world in worlds:
        await waiting(world, 2)

    served = []
    for _ in worlds:
        claimed = await claim(worlds[0])
        assert claimed is not None
        assert await worlds[0].store.running.publish(claimed, completing(claimed, "Hi."))
        served.append(claimed.organization_id)

    assert served[:2] == [worlds[0].caller.organization_id] * 2
    assert len(set(served)) == 6, "the oldest turn comes first, whoever's it is"


async def test_within_an_organization_the_oldest_turn_comes_first(pool: Pool) -> None:
    world = await make_world(pool)
    await waiting(world, 5)

    claimed = [await claim(world) for _ in range(5)]

    ages = [
        await pool.fetchval("SELECT created_at FROM turns WHERE id = $1", one.turn_id)
        for one in claimed
        if one is not None
    ]
    assert len(ages) == 5
    assert ages == sorted(ages)


async def test_an_organization_at_its_limit_is_passed_over(pool: Pool) -> None:
    world, other = await make_world(pool), await make_world(pool, name="Other")
    await waiting(world, 5)

    first, second, third = [await claim(world, organization_turns_max=2) for _ in range(3)]
    await waiting(other, 1)
    fourth = await claim(world, organization_turns_max=2)

    assert first is not None
    assert second is not None
    assert third is None
    assert fourth is not None
    assert fourth.organization_id == other.caller.organization_id


async def test_concurrent_claims_take_each_turn_once(pool: Pool) -> None:
    worlds = [await make_world(pool, name=f"Organization {number}") for number in range(5)]
    for world in worlds:
        await waiting(world, 20)

    claimed: list[Claim] = []

    async def take() -> None:
        while (one := await claim(worlds[0])) is not None:
            claimed.append(one)

    await asyncio.gather(*(take() for _ in range(8)))
    # A claim passes over what others hold at the moment, so one last look may find more.
    await take()

    assert len(claimed) == len({one.turn_id for one in claimed}) == 100


async def test_a_call_left_open_by_a_dead_process_is_settled_after_its_turn_was_cancelled(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    turn_id = (await world.append(session_id, 1)).turns[0].id
    one = await claim(world)
    assert one is not None
    step_id = world.store.running.new_step_id()
    assert await world.store.running.start_step(one, intent(step_id))
    await world.store.sessions.cancel(
        world.caller, session_id, turn_id=turn_id, expected=None, idempotency=None, render=rendered
    )

    too_early = await settle_leaked(world.store.running, older_than_seconds=60)
    settled = await settle_leaked(world.store.running, older_than_seconds=0)
    again = await settle_leaked(world.store.running, older_than_seconds=0)

    assert (too_early, settled, again) == (0, 1, 0)
    entries, _ = await world.store.reading.usage_entries(world.caller, after=0, session_id=None, limit=10)
    assert [(e.source, e.cost, e.billable, e.billable_reason) for e in entries] == [
        ("unknown", None, False, "lost")
    ]


async def test_a_process_believed_dead_that_tells_its_figures_corrects_the_ledger(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    turn_id = (await world.append(session_id, 1)).turns[0].id
    one = await claim(world)
    assert one is not None
    step_id = world.store.running.new_step_id()
    assert await world.store.running.start_step(one, intent(step_id))
    await world.store.sessions.cancel(
        world.caller, session_id, turn_id=turn_id, expected=None, idempotency=None, render=rendered
    )
    assert await settle_leaked(world.store.running, older_than_seconds=0) == 1

    is_corrected = await world.store.running.settle(one, step_id, outcome())

    entries, _ = await world.store.reading.usage_entries(world.caller, after=0, session_id=None, limit=10)
    assert is_corrected
    assert [(entry.seq, entry.corrects_id) for entry in entries] == [(1, None), (2, entries[0].id)]


async def test_a_call_of_a_turn_that_can_still_be_taken_up_is_left_alone(pool: Pool) -> None:
    world = await make_world(pool)
    await waiting(world, 1)
    one = await claim(world)
    assert one is not None
    assert await world.store.running.start_step(one, intent(world.store.running.new_step_id()))
    await pool.execute("UPDATE runs SET state = 'lost', ended_at = now() - interval '1 hour'")

    assert await settle_leaked(world.store.running, older_than_seconds=0) == 0
