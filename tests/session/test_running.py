"""complete, fail and cancel."""

import msgspec
import pytest

from api.session.commands import IfActive, Partial, cancel
from api.session.document import EventType, Notice, SessionState, StepSummary, TurnState, Usage
from api.session.errors import InvariantViolated
from tests.session.in_memory import ACTOR, ERROR, START, InMemorySession, a_reply

STEP = StepSummary(id="stp_1", kind="model", outcome="completed", started_at=START)
NOTICE = Notice(code="iteration_limit", message="8 calls")
USAGE = Usage(input_tokens=7, output_tokens=2)


def with_queue(queued: int) -> InMemorySession:
    session = InMemorySession()
    for _ in range(queued + 1):
        session.say(if_active=IfActive.ENQUEUE)
    return session


def test_complete_publishes_the_turn() -> None:
    session = with_queue(0)

    change = session.answer("Hello.", steps=(STEP,), usage=USAGE)

    (turn,) = change.changed
    assert (turn.state, turn.steps, turn.usage) == (TurnState.COMPLETED, (STEP,), USAGE)
    assert (turn.replies, turn.finished_at, turn.revision) == ((a_reply("Hello."),), change.event.at, 3)
    assert (turn.node, turn.variables) == (None, None)
    assert (change.session.active_turn_id, change.session.unfinished_count) == (None, 0)
    assert (change.event.type, change.event.line_from) == (EventType.TURN_COMPLETED, 0)
    assert change.revokes_run is False


@pytest.mark.parametrize("outcome", ["completed", "failed", "cancelled"])
def test_when_a_turn_ends_the_next_in_the_queue_becomes_active(outcome: str) -> None:
    session = with_queue(1)

    if outcome == "completed":
        change = session.answer()
    elif outcome == "failed":
        change = session.fail()
    else:
        change = session.cancel("trn_1")

    assert session.turn("trn_1").state == outcome
    assert (change.session.active_turn_id, change.session.unfinished_count) == ("trn_2", 1)


def test_complete_stores_node_and_variables_in_full_when_either_changed() -> None:
    session = with_queue(0)
    session.answer(variables={"x": 1})
    session.say()

    change = session.answer(node="lobby")

    assert (change.changed[0].node, change.changed[0].variables) == ("lobby", {"x": 1})
    assert (change.session.node, change.session.variables) == ("lobby", {"x": 1})
    assert (session.turn("trn_1").node, session.turn("trn_1").variables) == ("start", {"x": 1})


def test_a_turn_that_ends_the_session_cancels_the_queue_in_the_same_commit() -> None:
    session = with_queue(1)

    change = session.answer("Goodbye.", ends_session=True, resolution="solved", notices=(NOTICE,))

    assert [turn.state.value for turn in change.changed] == ["completed", "cancelled"]
    assert change.changed[0].notices == (NOTICE,)
    assert (change.session.state, change.session.resolution) == (SessionState.ENDED, "solved")
    assert (change.session.ended_at, change.session.active_turn_id) == (change.event.at, None)
    assert change.event.type is EventType.TURN_COMPLETED
    assert [(effect.type.value, effect.turn_id) for effect in change.event.effects] == [
        ("turn.completed", "trn_1"),
        ("turn.cancelled", "trn_2"),
        ("session.ended", None),
    ]
    assert change.revokes_run is False


def test_a_session_that_goes_on_has_no_resolution() -> None:
    session = with_queue(0)

    with pytest.raises(InvariantViolated, match="only a session that ends has a resolution"):
        session.answer(resolution="solved")


def test_fail_keeps_the_error_and_changes_no_node() -> None:
    session = with_queue(0)

    change = session.fail(steps=(STEP,), usage=USAGE)

    (turn,) = change.changed
    assert (turn.state, turn.error, turn.steps, turn.usage) == (TurnState.FAILED, ERROR, (STEP,), USAGE)
    assert (change.session.node, change.event.type) == ("start", EventType.TURN_FAILED)
    assert change.revokes_run is False


def test_cancelling_the_active_turn_keeps_what_was_shown_and_revokes_its_run() -> None:
    session = with_queue(0)

    change = session.cancel("trn_1", partial=Partial(replies=(a_reply("Hel"),), steps=(STEP,), usage=USAGE))

    (turn,) = change.changed
    assert (turn.state, turn.steps, turn.usage) == (TurnState.CANCELLED, (STEP,), USAGE)
    assert (turn.replies[0].text, turn.replies[0].truncated) == ("Hel", True)
    assert change.revokes_run is True
    assert change.event.type is EventType.TURN_CANCELLED


def test_cancelling_a_queued_turn_cancels_that_one_alone_and_it_keeps_its_place() -> None:
    session = with_queue(2)

    change = session.cancel("trn_2", partial=Partial(replies=(a_reply("not its own"),)))

    assert [turn.state.value for turn in session.document.turns] == ["pending", "cancelled", "pending"]
    assert session.turn("trn_2").replies == ()
    assert change.revokes_run is False
    assert (change.session.active_turn_id, change.session.unfinished_count) == ("trn_1", 2)


def test_cancel_insists_on_the_turn_as_the_head_holds_it() -> None:
    session = with_queue(0)
    stale = msgspec.structs.replace(session.document.turns[0], revision=1)

    with pytest.raises(InvariantViolated, match="as the head holds it"):
        cancel(session.head, turn=stale, now=START, actor=ACTOR)


def test_partial_variables_are_bounded() -> None:
    session = with_queue(0)

    with pytest.raises(InvariantViolated, match="bounded"):
        session.cancel("trn_1", partial=Partial(node="lobby", variables={"x": "x" * 40_000}))
