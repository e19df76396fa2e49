"""create and fork."""

import msgspec
import pytest

from api.session.commands import FixedGreeting, PendingGreeting, create, fork
from api.session.document import Creation, EventType, StepSummary, TurnState, Usage
from api.session.errors import InvariantViolated, TurnUnfinished
from api.session.invariants import check
from tests.session.in_memory import ACTOR, AGENT, START, InMemorySession, document_of


def created(*, greeting: PendingGreeting | FixedGreeting | None = None) -> Creation:
    return create(
        session_id="ses_1",
        agent=AGENT,
        name="Test",
        context={"city": "Turin"},
        metadata={"ticket": 7},
        now=START,
        actor=ACTOR,
        greeting=greeting,
    )


def forked(session: InMemorySession, count: int) -> Creation:
    return fork(
        session.document.session,
        session.document.turns[:count],
        session_id="ses_2",
        turn_ids=[f"trn_copy_{number}" for number in range(count)],
        context=session.document.context,
        metadata={},
        now=START,
        actor=ACTOR,
    )


def test_a_new_session_is_empty_at_revision_1() -> None:
    creation = created()

    check(document_of(creation))
    assert (creation.session.revision, creation.session.turn_count, creation.session.cursor) == (1, 0, 0)
    assert (creation.session.name, creation.context, creation.metadata) == (
        "Test",
        {"city": "Turin"},
        {"ticket": 7},
    )
    assert [(event.revision, event.type, event.line_from) for event in creation.events] == [
        (1, EventType.SESSION_CREATED, None)
    ]


def test_a_fixed_greeting_is_a_completed_turn_at_revision_2() -> None:
    creation = created(greeting=FixedGreeting(turn_id="trn_0", speaker="Ada", text="Hello."))

    check(document_of(creation))
    (turn,) = creation.turns
    assert (turn.state, turn.revision, turn.user_message) == (TurnState.COMPLETED, 2, None)
    assert [(reply.speaker, reply.text) for reply in turn.replies] == [("Ada", "Hello.")]
    assert (creation.session.revision, creation.session.cursor) == (2, 1)
    assert [effect.type for effect in creation.events[1].effects] == [
        EventType.TURN_CREATED,
        EventType.TURN_COMPLETED,
    ]
    assert creation.events[1].type is EventType.TURN_COMPLETED


def test_a_pending_greeting_is_the_active_turn_at_revision_2() -> None:
    creation = created(greeting=PendingGreeting(turn_id="trn_0"))

    check(document_of(creation))
    assert (creation.turns[0].state, creation.turns[0].replies) == (TurnState.PENDING, ())
    assert (creation.session.active_turn_id, creation.session.unfinished_count) == ("trn_0", 1)
    assert [effect.type for effect in creation.events[1].effects] == [EventType.TURN_CREATED]
    assert creation.events[1].line_from == 0


def test_a_fork_copies_the_turns_up_to_one_of_them() -> None:
    session = InMemorySession()
    session.talk(1)
    session.rewind(0)
    session.talk(3)
    before = session.document

    creation = forked(session, 2)

    check(document_of(creation))
    assert session.document is before
    assert [turn.copied_from for turn in creation.turns] == session.turn_ids[:2]
    assert [(turn.branch, turn.position, turn.revision) for turn in creation.turns] == [(0, 0, 1), (0, 1, 1)]
    assert [turn.replies for turn in creation.turns] == [turn.replies for turn in before.turns[:2]]
    assert (creation.session.revision, creation.session.cursor, creation.session.turn_count) == (1, 2, 2)
    assert creation.session.forked_from == session.turn_ids[1]
    assert [(event.type, event.line_from) for event in creation.events] == [(EventType.SESSION_CREATED, 0)]


def test_a_copy_carries_neither_steps_nor_usage() -> None:
    session = InMemorySession()
    session.say()
    step = StepSummary(id="stp_1", kind="model", outcome="completed", started_at=START)
    session.answer(usage=Usage(input_tokens=5), steps=(step,))

    (copy,) = forked(session, 1).turns

    assert (copy.steps, copy.usage) == ((), None)


def test_a_fork_stands_at_the_node_of_its_newest_turn_that_stores_one() -> None:
    session = InMemorySession()
    for node in ("lobby", "garden", "cellar"):
        session.say()
        session.answer(node=node, variables={"seen": node})

    creation = forked(session, 2)

    assert (creation.session.node, creation.session.variables) == ("garden", {"seen": "garden"})


def test_an_ended_session_can_be_forked() -> None:
    session = InMemorySession()
    session.talk(1)
    session.end("done")

    creation = forked(session, 1)

    assert creation.session.state == "open"
    assert (creation.session.ended_at, creation.session.resolution) == (None, None)


def test_fork_refuses_an_unfinished_turn() -> None:
    session = InMemorySession()
    session.talk(1)
    session.say()

    with pytest.raises(TurnUnfinished) as refusal:
        forked(session, 2)

    assert refusal.value.turn_id == session.turn_ids[1]


def test_fork_insists_on_the_first_turns_in_order() -> None:
    session = InMemorySession()
    session.talk(2)
    gap = msgspec.structs.replace(session.document, turns=session.document.turns[1:])
    session.document = gap

    with pytest.raises(InvariantViolated):
        forked(session, 1)
