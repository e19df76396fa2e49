"""Approvals on a real Postgres: asked, listed, decided once, closed by the end of their turn, expired."""

from datetime import timedelta
from typing import Any

import pytest

from api.agents.policy import Rule, RuleAction
from api.app.sweeps import deny_expired
from api.session.commands import IfActive
from api.session.document import Actor, ApprovalReason, Decision, TurnState
from api.session.errors import (
    ApprovalClosed,
    ApprovalDecided,
    ApprovalExpired,
    DigestMismatch,
    NoStandingDecision,
)
from api.store import NotFound, RevisionConflict, StoredAnswer
from api.store.approval_rules import RuleRecord
from api.store.base import utc_now
from db.pool import Pool
from tests.factories import World, asking, completing, make_world, rendered


async def waiting(pool: Pool, count: int = 1, **fields: Any) -> tuple[World, str, Any]:
    """A session at revision 3 whose only turn waits for this many approvals."""
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    return world, session_id, await world.ask(session_id, count, **fields)


async def states(world: World) -> dict[str, str]:
    """By id, where the approvals are in their lives."""
    found = await world.store.approvals.approvals(
        world.caller, session_id=None, state=None, before=None, limit=100
    )
    return {record.id: record.state for _, record in found}


async def test_a_turn_that_waits_has_no_run_and_is_not_claimed(pool: Pool) -> None:
    world, session_id, _ = await waiting(pool)

    claim = await world.store.running.claim(runner="other", lease_seconds=15)

    assert claim is None
    assert await pool.fetchval("SELECT state FROM runs") == "finished"
    (turn,) = (await world.store.reading.document(world.caller, session_id)).turns
    assert turn.state is TurnState.AWAITING_APPROVAL


async def test_when_all_is_decided_the_turn_is_claimed_again_in_the_same_attempt(pool: Pool) -> None:
    world, session_id, (first, second) = await waiting(pool, 2)

    await world.decide(second, Decision.DENIED, note="Too much.")
    early = await world.store.running.claim(runner="test", lease_seconds=15)
    delta = await world.decide(first)
    claim = await world.store.running.claim(runner="test", lease_seconds=15)

    assert early is None
    assert claim is not None
    assert (claim.attempt, delta.session.revision) == (1, 5)
    assert await world.store.running.publish(claim, completing(claim, "Done."))
    (turn,) = (await world.store.reading.document(world.caller, session_id)).turns
    assert turn.state is TurnState.COMPLETED
    assert [(a.decision, a.note) for a in turn.approvals] == [
        (Decision.APPROVED, None),
        (Decision.DENIED, "Too much."),
    ]


async def test_a_runner_asks_again_when_only_the_revision_has_moved(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    await world.append(session_id, 1)
    claim = await world.store.running.claim(runner="test", lease_seconds=15)
    assert claim is not None
    await world.append(session_id, 2, if_active=IfActive.ENQUEUE)

    approval = world.approval()
    assert await world.store.running.publish(claim, asking(claim, approval))

    record = await world.store.approvals.approval(world.caller, approval.id)
    assert record.state == "open"
    assert await world.store.reading.revision(world.caller, session_id) == 4


async def test_a_run_that_has_lost_its_turn_asks_nothing(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    turn_id = (await world.append(session_id, 1)).turns[0].id
    claim = await world.store.running.claim(runner="test", lease_seconds=15)
    assert claim is not None
    await cancel(world, session_id, turn_id)

    is_parked = await world.store.running.publish(claim, asking(claim, world.approval()))

    assert is_parked is False
    assert await states(world) == {}


async def test_an_approval_is_read_with_all_that_a_person_needs(pool: Pool) -> None:
    world, session_id, (approval,) = await waiting(pool, arguments={"amount": "12.50"})

    record = await world.store.approvals.approval(world.caller, approval.id)

    assert (record.session_id, record.agent, record.step_id) == (session_id, world.agent, approval.step_id)
    assert (record.tool, record.arguments, record.effect) == ("refund", {"amount": "12.50"}, "once")
    assert (record.reason, record.arguments_digest) == (ApprovalReason.REQUIRED, approval.arguments_digest)
    assert (record.requested_at, record.expires_at) == (approval.requested_at, approval.expires_at)
    assert (record.state, record.decision, record.decided_by) == ("open", None, None)


async def test_lists_are_newest_first_and_narrowed_by_session_and_state(pool: Pool) -> None:
    world, session_id, (decided, opened) = await waiting(pool, 2)
    await world.decide(decided)
    other_id = (await world.session()).session.id
    (closed,) = await world.ask(other_id)
    await end(world, other_id)

    async def listed(**narrowed: Any) -> list[str]:
        every: dict[str, Any] = {"session_id": None, "state": None, "before": None, "limit": 10}
        found = await world.store.approvals.approvals(world.caller, **every | narrowed)
        return [record.id for _, record in found]

    assert await listed() == [closed.id, opened.id, decided.id]
    assert await listed(session_id=session_id) == [opened.id, decided.id]
    assert await listed(state="open") == [opened.id]
    assert await listed(state="decided") == [decided.id]
    assert await listed(state="closed") == [closed.id]
    assert await listed(state="open", session_id=other_id) == []
    assert await listed(session_id="ses_x") == []
    newest = await world.store.approvals.approvals(
        world.caller, session_id=None, state=None, before=None, limit=1
    )
    assert await listed(before=newest[0][0]) == [opened.id, decided.id]


async def test_a_decision_says_who_made_it_and_is_made_once(pool: Pool) -> None:
    world, session_id, (approval,) = await waiting(pool)

    await world.decide(approval, Decision.DENIED, note="No.")
    with pytest.raises(ApprovalDecided) as refusal:
        await world.decide(approval)

    record = await world.store.approvals.approval(world.caller, approval.id)
    assert (record.decision, record.note, record.decided_by) == (Decision.DENIED, "No.", world.caller.actor)
    assert refusal.value.approval.decision is Decision.DENIED
    assert await world.store.reading.revision(world.caller, session_id) == 4
    _, events = await world.store.reading.events_after(world.caller, session_id, after=2, limit=10)
    assert [event.type for event in events] == ["turn.awaiting_approval", "approval.decided"]
    assert events[1].effects[0].approval_id == approval.id


async def test_a_decision_about_other_arguments_changes_nothing(pool: Pool) -> None:
    world, session_id, (approval,) = await waiting(pool)

    with pytest.raises(DigestMismatch):
        await world.decide(approval, arguments_digest="another")

    assert await states(world) == {approval.id: "open"}
    assert await world.store.reading.revision(world.caller, session_id) == 3


async def test_a_revision_is_checked_where_one_is_given(pool: Pool) -> None:
    world, _, (approval,) = await waiting(pool)

    with pytest.raises(RevisionConflict):
        await world.decide(approval, expected=2)
    delta = await world.decide(approval, expected=3)

    assert delta.session.revision == 4


async def cancel(world: World, session_id: str, turn_id: str) -> None:
    await world.store.sessions.cancel(
        world.caller, session_id, turn_id=turn_id, expected=None, idempotency=None, render=rendered
    )


async def end(world: World, session_id: str, _: str = "") -> None:
    await world.store.sessions.end(
        world.caller, session_id, resolution=None, expected=None, idempotency=None, render=rendered
    )


async def rewind(world: World, session_id: str, _: str) -> None:
    await world.store.sessions.rewind(
        world.caller, session_id, turn_id=None, expected=None, idempotency=None, render=rendered
    )


async def regenerate(world: World, session_id: str, turn_id: str) -> None:
    await world.store.sessions.regenerate(
        world.caller, session_id, turn_id=turn_id, text=None, expected=None, idempotency=None
    )


async def interrupt(world: World, session_id: str, _: str) -> None:
    await world.append(session_id, None, if_active=IfActive.INTERRUPT)


ENDINGS = [cancel, end, rewind, regenerate, interrupt]


@pytest.mark.parametrize("ending", ENDINGS)
async def test_the_end_of_its_turn_closes_an_open_approval(pool: Pool, ending: Any) -> None:
    world, session_id, (decided, opened) = await waiting(pool, 2)
    await world.decide(decided)
    turn_id = (await world.store.reading.document(world.caller, session_id)).turns[0].id

    await ending(world, session_id, turn_id)

    assert await states(world) == {decided.id: "decided", opened.id: "closed"}
    revision = await world.store.reading.revision(world.caller, session_id)
    with pytest.raises(ApprovalClosed):
        await world.decide(opened)
    assert await world.store.reading.revision(world.caller, session_id) == revision


async def test_a_decision_for_good_becomes_a_rule_once(pool: Pool) -> None:
    world, _, (first, second, third) = await waiting(pool, 3)

    await world.decide(first, is_standing=True)
    await world.decide(second, is_standing=True)
    await world.decide(third, Decision.DENIED, is_standing=True)

    rules = await world.store.approvals.rules(world.caller.organization_id)
    assert sorted(rules, key=lambda rule: rule.action) == [
        Rule(tool="refund", action=RuleAction.ALLOW, is_standing=True),
        Rule(tool="refund", action=RuleAction.DENY, is_standing=True),
    ]
    listed = await world.store.approval_rules.rules(world.caller, before=None, limit=10)
    assert [record.approval_id for _, record in listed] == [third.id, first.id]
    assert (await world.store.approvals.approval(world.caller, second.id)).is_standing


async def test_a_call_of_unknown_outcome_settles_nothing_about_its_tool(pool: Pool) -> None:
    world, session_id, (approval,) = await waiting(pool, reason=ApprovalReason.OUTCOME_UNKNOWN)

    with pytest.raises(NoStandingDecision):
        await world.decide(approval, is_standing=True)

    assert await world.store.approvals.rules(world.caller.organization_id) == ()
    assert await world.store.reading.revision(world.caller, session_id) == 3


async def test_what_nobody_decides_in_time_is_denied_by_the_system(pool: Pool) -> None:
    now = utc_now()
    world = await make_world(pool, clock=lambda: now)
    session_id = (await world.session()).session.id
    await world.append(session_id, None)
    claim = await world.store.running.claim(runner="test", lease_seconds=15)
    assert claim is not None
    overdue, young = world.approval(0, expires_at=now), world.approval(1)
    assert await world.store.running.publish(claim, asking(claim, overdue, young))

    with pytest.raises(ApprovalExpired):
        await world.decide(overdue)
    count = await deny_expired(world.store)

    assert count == 1
    record = await world.store.approvals.approval(world.caller, overdue.id)
    assert (record.decision, record.has_expired, record.note) == (Decision.DENIED, True, None)
    assert record.decided_by == Actor(process="system")
    assert await states(world) == {overdue.id: "decided", young.id: "open"}
    assert await deny_expired(world.store) == 0


async def test_what_expired_while_nothing_ran_is_denied_afterwards_a_bounded_number_at_a_time(
    pool: Pool,
) -> None:
    world = await make_world(pool)
    long_ago = utc_now() - timedelta(days=3)
    for _ in range(3):
        await world.ask((await world.session()).session.id, expires_at=long_ago)

    first = await world.store.approvals.expired(limit=2)
    denied = await deny_expired(world.store)

    assert len(first) == 2
    assert denied == 3
    assert set((await states(world)).values()) == {"decided"}
    assert await world.store.running.claim(runner="test", lease_seconds=15) is not None


async def test_an_approval_that_cannot_be_denied_does_not_keep_the_others_waiting(pool: Pool) -> None:
    world = await make_world(pool)
    long_ago = utc_now() - timedelta(days=3)
    (broken,) = await world.ask((await world.session()).session.id, expires_at=long_ago)
    await world.ask((await world.session()).session.id, expires_at=long_ago + timedelta(hours=1))
    await pool.execute("UPDATE turns SET body = '{}' WHERE body -> 'approvals' -> 0 ->> 'id' = $1", broken.id)

    assert await deny_expired(world.store) == 1
    assert sorted((await states(world)).values()) == ["decided", "open"]


async def test_a_deleted_session_leaves_no_words_of_its_approvals(pool: Pool) -> None:
    world, session_id, (decided, opened) = await waiting(pool, 2, arguments={"secret": "words"})
    await world.decide(decided, note="secret note")

    await world.store.sessions.erase(world.caller, session_id, expected=None)

    rows = await pool.fetch("SELECT row_to_json(a)::text AS row FROM approvals a")
    assert len(rows) == 2
    assert "secret" not in str(rows)
    assert await states(world) == {}
    for approval in (decided, opened):
        with pytest.raises(NotFound):
            await world.store.approvals.approval(world.caller, approval.id)
    assert await deny_expired(world.store) == 0


async def test_rules_are_bounded_revoked_and_kept(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    world = await make_world(pool)
    store = world.store.approval_rules
    monkeypatch.setattr("api.store.approval_rules.RULES_MAX", 1)
    made: list[RuleRecord] = []

    def render(record: RuleRecord) -> StoredAnswer:
        made.append(record)
        return StoredAnswer(status=201, headers={}, body=b"{}")

    async def create() -> Any:
        return await store.create(
            world.caller,
            tool="refund",
            action=RuleAction.ASK,
            arguments_schema={"type": "object"},
            cost_max=None,
            idempotency=None,
            render=render,
        )

    assert await create() is not None
    assert await create() is None
    await store.revoke(world.caller, made[0].id)
    await store.revoke(world.caller, made[0].id)
    assert await create() is not None

    revoked = await store.rule(world.caller, made[0].id)
    assert revoked.revoked_by == world.caller.actor
    assert revoked.rule.arguments_schema == {"type": "object"}
    assert [record.id for _, record in await store.rules(world.caller, before=None, limit=10)] == [made[1].id]
    with pytest.raises(NotFound):
        await store.revoke(world.caller, "rul_x")
    with pytest.raises(NotFound):
        await store.rule(world.caller, "rul_" + "0" * 32)
