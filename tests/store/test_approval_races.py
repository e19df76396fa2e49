"""Races about approvals on a real Postgres: one decision, and what the rows say is what the turn says."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from api.events import Hub
from api.session.document import Actor, Approval, Decision, TurnState
from api.session.errors import ApprovalClosed, ApprovalDecided, ApprovalExpired
from api.store import Caller, Store
from api.store.base import utc_now
from db import doctor
from db.pool import Pool
from tests.factories import World, asking, make_world
from tests.store.test_approvals import cancel, end, interrupt, regenerate, rewind

_ROUNDS = 20
_DECIDERS = 50


async def outcome(work: Awaitable[Any]) -> Any:
    """What came of it: a result, or the refusal."""
    try:
        return await work
    except (ApprovalDecided, ApprovalClosed, ApprovalExpired) as refusal:
        return refusal


async def require_agreement(pool: Pool, world: World, session_id: str) -> None:
    """The rows say what the turns say, and every revision has its event."""
    async with pool.acquire() as conn:
        for check in ("open approvals", "event density", "active turn", "run of a final turn"):
            assert await doctor.check(conn, check) == []
    document = await world.store.reading.document(world.caller, session_id)
    for turn in document.turns:
        for approval in turn.approvals:
            record = await world.store.approvals.approval(world.caller, approval.id)
            assert (record.decision, record.decided_by, record.note) == (
                approval.decision,
                approval.decided_by,
                approval.note,
            )
            assert (record.state == "closed") == (approval.decision is None and turn.state.is_final)


async def test_of_fifty_people_exactly_one_decides(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    (approval,) = await world.ask(session_id)

    async def decide(number: int) -> Any:
        caller = Caller(
            organization_id=world.caller.organization_id, actor=Actor(key_id="key", on_behalf_of=str(number))
        )
        decision = Decision.APPROVED if number % 2 else Decision.DENIED
        return await outcome(world.decide(approval, decision, caller=caller, note=f"by {number}"))

    async with asyncio.timeout(60):
        outcomes = await asyncio.gather(*(decide(number) for number in range(_DECIDERS)))

    lost = [found for found in outcomes if isinstance(found, ApprovalDecided)]
    assert len(lost) == _DECIDERS - 1
    (winner,) = (number for number, found in enumerate(outcomes) if not isinstance(found, ApprovalDecided))
    record = await world.store.approvals.approval(world.caller, approval.id)
    assert record.note == f"by {winner}"
    assert {refusal.approval.note for refusal in lost} == {f"by {winner}"}
    assert await world.store.reading.revision(world.caller, session_id) == 4
    await require_agreement(pool, world, session_id)


@pytest.mark.parametrize("ending", [cancel, end, rewind, regenerate, interrupt])
async def test_a_decision_comes_before_the_end_of_the_turn_or_not_at_all(
    pool: Pool, ending: Callable[[World, str, str], Awaitable[None]]
) -> None:
    world = await make_world(pool)
    for round_number in range(_ROUNDS):
        session_id = (await world.session()).session.id
        approval, other = await world.ask(session_id, 2)
        turn = (await world.store.reading.document(world.caller, session_id)).turns[0]
        works = [outcome(world.decide(approval)), outcome(ending(world, session_id, turn.id))]

        async with asyncio.timeout(30):
            # Who is asked first is first as a rule, so they take turns.
            first, second = works if round_number % 2 else works[::-1]
            results = await asyncio.gather(first, second)
        decided = results[0] if round_number % 2 else results[1]

        after = await world.store.reading.turn(world.caller, session_id, turn.id)
        assert after.state is TurnState.CANCELLED
        record = await world.store.approvals.approval(world.caller, approval.id)
        is_closed = isinstance(decided, ApprovalClosed)
        assert record.state == ("closed" if is_closed else "decided")
        assert (await world.store.approvals.approval(world.caller, other.id)).state == "closed"
        revision = await world.store.reading.revision(world.caller, session_id)
        assert revision == (4 if is_closed else 5)
        await require_agreement(pool, world, session_id)
        await end_unless_ended(world, session_id)


async def test_a_person_or_the_passing_of_time_decides(pool: Pool) -> None:
    world = await make_world(pool)
    later = Store(pool, Hub(), clock=lambda: utc_now() + timedelta(hours=2))
    for round_number in range(_ROUNDS):
        session_id = (await world.session()).session.id
        (approval,) = await world.ask(session_id)
        works = [
            outcome(world.decide(approval)),
            outcome(later.approvals.expire(world.caller.organization_id, approval.id)),
        ]

        async with asyncio.timeout(30):
            results = await asyncio.gather(*(works if round_number % 2 else works[::-1]))
        person, time = results if round_number % 2 else results[::-1]

        record = await world.store.approvals.approval(world.caller, approval.id)
        is_late = isinstance(person, ApprovalDecided)
        assert time is is_late
        assert record.has_expired is is_late
        assert record.decision is (Decision.DENIED if is_late else Decision.APPROVED)
        assert await world.store.reading.revision(world.caller, session_id) == 4
        await require_agreement(pool, world, session_id)
        await end(world, session_id)


async def test_two_sweeps_deny_once(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    (approval,) = await world.ask(session_id, expires_at=utc_now())
    organization_id = world.caller.organization_id

    denied = await asyncio.gather(
        *(world.store.approvals.expire(organization_id, approval.id) for _ in range(4))
    )

    assert sorted(denied) == [False, False, False, True]
    assert await world.store.reading.revision(world.caller, session_id) == 4


async def test_two_approvals_of_one_turn_decided_at_once_are_both_decided(pool: Pool) -> None:
    world = await make_world(pool)
    for _ in range(_ROUNDS):
        session_id = (await world.session()).session.id
        first, second = await world.ask(session_id, 2)

        async with asyncio.timeout(30):
            await asyncio.gather(world.decide(first), world.decide(second, Decision.DENIED))

        (turn,) = (await world.store.reading.document(world.caller, session_id)).turns
        assert turn.state is TurnState.PENDING
        assert [a.decision for a in turn.approvals] == [Decision.APPROVED, Decision.DENIED]
        assert await world.store.reading.revision(world.caller, session_id) == 5
        await require_agreement(pool, world, session_id)
        claim = await world.store.running.claim(runner="test", lease_seconds=15)
        assert claim is not None
        await end(world, session_id)


async def test_decisions_for_good_at_once_make_one_rule(pool: Pool) -> None:
    world = await make_world(pool)
    asked: list[Approval] = []
    for _ in range(8):
        asked += await world.ask((await world.session()).session.id)

    async with asyncio.timeout(30):
        await asyncio.gather(*(world.decide(approval, is_standing=True) for approval in asked))

    assert len(await world.store.approvals.rules(world.caller.organization_id)) == 1


async def test_a_turn_that_is_being_parked_is_claimed_before_or_not_at_all(pool: Pool) -> None:
    world = await make_world(pool)
    running = world.store.running
    for round_number in range(2 * _ROUNDS):
        session_id = (await world.session()).session.id
        await world.append(session_id, 1)
        claim = await running.claim(runner="one", lease_seconds=15)
        assert claim is not None
        await pool.execute("UPDATE runs SET lease_expires_at = now() WHERE state = 'running'")
        works: list[Any] = [
            running.publish(claim, asking(claim, world.approval())),
            running.claim(runner="two", lease_seconds=15),
        ]

        results = await asyncio.gather(*(works if round_number % 2 else works[::-1]))
        is_parked, taken = results if round_number % 2 else results[::-1]

        assert is_parked is (taken is None)
        await require_agreement(pool, world, session_id)
        await end(world, session_id)


async def end_unless_ended(world: World, session_id: str) -> None:
    """So that its turn is not claimed in the next round."""
    document = await world.store.reading.document(world.caller, session_id)
    if document.session.ended_at is None:
        await end(world, session_id)
