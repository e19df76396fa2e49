"""request_approvals and decide, and what becomes of open approvals when the turn ends."""

from collections.abc import Callable
from datetime import timedelta

import msgspec
import pytest

from api.session.commands import IfActive, decide, fork
from api.session.document import (
    APPROVALS_MAX,
    NOTE_CHARACTERS_MAX,
    Actor,
    Approval,
    Change,
    Decision,
    EventType,
    Notice,
    StepSummary,
    TurnState,
    Usage,
)
from api.session.errors import ApprovalDecided, InvariantViolated
from tests.session.in_memory import ACTOR, START, InMemorySession, a_reply, an_approval

STEP = StepSummary(id="stp_1", kind="model", outcome="completed", started_at=START)
USAGE = Usage(input_tokens=7, output_tokens=2)
NOTICE = Notice(code="tool_missing", message="weather does not answer")


def awaiting_approval(*approvals: Approval) -> InMemorySession:
    """A session whose active turn waits for a person, with another turn in the queue."""
    session = InMemorySession()
    session.say()
    session.say(if_active=IfActive.ENQUEUE)
    session.ask(*approvals)
    return session


def test_a_turn_that_asks_waits_with_all_that_it_has_brought() -> None:
    session = InMemorySession()
    session.say()

    change = session.ask(
        an_approval(1), an_approval(2), steps=(STEP,), usage=USAGE, replies=(a_reply(),), notices=(NOTICE,)
    )

    (turn,) = change.changed
    assert (turn.state, turn.finished_at, turn.revision) == (TurnState.AWAITING_APPROVAL, None, 3)
    assert (turn.steps, turn.usage, turn.replies) == ((STEP,), USAGE, (a_reply(),))
    assert (turn.approvals, turn.notices) == ((an_approval(1), an_approval(2)), (NOTICE,))
    assert change.requested == turn.approvals
    assert (change.session.active_turn_id, change.session.unfinished_count) == ("trn_1", 1)
    assert (change.event.type, change.event.line_from) == (EventType.TURN_AWAITING_APPROVAL, 0)
    assert [(effect.type.value, effect.turn_id) for effect in change.event.effects] == [
        ("turn.awaiting_approval", "trn_1")
    ]
    assert change.revokes_run is False


def test_the_turn_goes_on_when_the_last_of_its_approvals_is_decided() -> None:
    session = awaiting_approval(an_approval(1), an_approval(2))

    first = session.decide("apv_2", Decision.DENIED, note="Too much.")
    second = session.decide("apv_1")

    assert [change.changed[0].state.value for change in (first, second)] == ["awaiting_approval", "pending"]
    assert first.decided == an_approval(
        2, decision=Decision.DENIED, decided_at=first.event.at, decided_by=ACTOR, note="Too much."
    )
    assert session.turn("trn_1").approvals == (second.decided, first.decided)
    assert second.event.type is EventType.APPROVAL_DECIDED
    assert [(e.type.value, e.turn_id, e.approval_id) for e in second.event.effects] == [
        ("approval.decided", "trn_1", "apv_1")
    ]
    assert second.event.line_from == 0
    assert second.session.active_turn_id == "trn_1"


def test_a_turn_may_ask_again_and_remembers_all() -> None:
    session = awaiting_approval(an_approval(1))
    session.decide("apv_1")

    change = session.ask(an_approval(2))

    assert change.requested == (an_approval(2),)
    assert [approval.id for approval in change.changed[0].approvals] == ["apv_1", "apv_2"]
    session.decide("apv_2")
    assert session.answer("Done.").changed[0].replies == (a_reply("Done."),)


def test_what_nobody_decides_in_time_is_denied() -> None:
    expires_at = START + timedelta(seconds=4)
    session = awaiting_approval(an_approval(expires_at=expires_at))

    change = session.decide(
        decision=Decision.DENIED, has_expired=True, actor=Actor(process="system"), now=expires_at
    )

    assert change.decided is not None
    assert (change.decided.decision, change.decided.has_expired) == (Decision.DENIED, True)
    assert change.decided.decided_by == Actor(process="system")
    assert change.changed[0].state is TurnState.PENDING


@pytest.mark.parametrize(
    ("decision", "now"),
    [(Decision.APPROVED, START + timedelta(days=30)), (Decision.DENIED, START + timedelta(days=29))],
)
def test_nothing_else_can_come_of_time_passing(decision: Decision, now: object) -> None:
    session = awaiting_approval()

    with pytest.raises(InvariantViolated, match="what expires is denied"):
        session.decide(decision=decision, has_expired=True, now=now)


ENDINGS: list[Callable[[InMemorySession], Change]] = [
    lambda s: s.cancel("trn_1"),
    lambda s: s.fail(),
    lambda s: s.rewind(0),
    lambda s: s.end(),
    lambda s: s.say(if_active=IfActive.INTERRUPT),
    lambda s: s.regenerate("trn_1"),
]


@pytest.mark.parametrize("end", ENDINGS)
def test_the_end_of_a_turn_leaves_its_open_approvals_undecided(
    end: Callable[[InMemorySession], Change],
) -> None:
    session = awaiting_approval(an_approval(1), an_approval(2))
    session.decide("apv_1")

    end(session)

    turn = session.turn("trn_1")
    assert turn.state in (TurnState.CANCELLED, TurnState.FAILED)
    assert [approval.decision for approval in turn.approvals] == [Decision.APPROVED, None]


def test_restoring_a_future_ends_a_turn_that_waits() -> None:
    session = InMemorySession()
    session.talk(1)
    session.rewind(0)
    session.say()
    session.ask()

    session.restore(1)

    assert session.turn("trn_2").state is TurnState.CANCELLED
    assert session.turn("trn_2").approvals == (an_approval(),)


def test_a_failed_turn_keeps_no_reply_and_no_node() -> None:
    session = InMemorySession()
    session.say()
    session.ask(replies=(a_reply("I shall"),))

    (turn,) = session.fail(notices=(NOTICE,)).changed

    assert (turn.state, turn.replies, turn.node, turn.variables) == (TurnState.FAILED, (), None, None)
    assert turn.notices == (NOTICE,)


def test_a_waiting_turn_that_is_cancelled_keeps_what_it_said_as_cut_off() -> None:
    session = InMemorySession()
    session.say()
    session.ask(replies=(a_reply("I shall"),))

    change = session.cancel("trn_1")

    assert [(reply.text, reply.truncated) for reply in change.changed[0].replies] == [("I shall", True)]
    assert change.revokes_run is True


def test_a_refused_decision_tells_what_stands() -> None:
    session = awaiting_approval()
    decided = session.decide(decision=Decision.DENIED).decided

    with pytest.raises(ApprovalDecided, match="apv_1 is denied already") as refusal:
        session.decide()

    assert refusal.value.approval == decided


@pytest.mark.parametrize(
    ("approvals", "clause"),
    [
        ((), "a turn waits for at least one approval"),
        ((an_approval(decision=Decision.APPROVED),), "what is requested is undecided"),
        ((an_approval(1), an_approval(1)), "are not reused"),
        ((an_approval(1), an_approval(2, step_id="stp_allowed_1")), "are not reused"),
    ],
)
def test_a_runner_asks_for_new_approvals_only(approvals: tuple[Approval, ...], clause: str) -> None:
    session = InMemorySession()
    session.say()

    with pytest.raises(InvariantViolated, match=clause):
        session.ask(approvals=approvals)


def test_a_turn_may_wait_for_as_many_approvals_as_are_allowed() -> None:
    session = awaiting_approval(*(an_approval(number) for number in range(APPROVALS_MAX)))

    assert len(session.turn("trn_1").approvals) == APPROVALS_MAX


def test_the_note_of_a_decision_is_bounded() -> None:
    session = awaiting_approval()

    with pytest.raises(InvariantViolated, match="the note of a decision is bounded"):
        session.decide(note="x" * (NOTE_CHARACTERS_MAX + 1))


def test_decide_insists_on_the_turn_as_the_head_holds_it() -> None:
    session = awaiting_approval()
    stale = msgspec.structs.replace(session.document.turns[0], revision=1)

    with pytest.raises(InvariantViolated, match="as the head holds it"):
        decide(
            session.head,
            turn=stale,
            approval_id="apv_1",
            arguments_digest="digest-1",
            decision=Decision.APPROVED,
            note=None,
            now=START,
            actor=ACTOR,
        )


def test_a_fork_copies_no_approvals() -> None:
    session = awaiting_approval()
    session.decide()
    session.answer()

    made = fork(
        session.document.session,
        session.document.turns[:1],
        session_id="ses_2",
        turn_ids=["trn_x"],
        context={},
        metadata={},
        now=START,
        actor=ACTOR,
    )

    assert made.turns[0].approvals == ()
