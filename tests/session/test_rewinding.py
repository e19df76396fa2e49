"""rewind, restore, regenerate and retry."""

import pytest

from api.session.commands import FixedGreeting, IfActive, Partial, restore
from api.session.document import Branch, DiscardedFuture, EventType, TurnState, UserMessage
from api.session.errors import InvariantViolated
from tests.session.in_memory import ACTOR, START, InMemorySession, a_reply


def talked(turns: int) -> InMemorySession:
    session = InMemorySession()
    session.talk(turns)
    return session


@pytest.mark.parametrize("to", [0, 1, 2, 3])
def test_rewind_moves_the_cursor_and_deletes_nothing(to: int) -> None:
    session = talked(3)
    turns = session.document.turns

    change = session.rewind(to)

    assert change.session.cursor == to
    assert (session.document.turns, session.document.discarded_futures) == (turns, ())
    assert (change.event.type, change.event.line_from) == (EventType.SESSION_REWOUND, None)


def test_rewind_moves_forward_again_while_nothing_was_appended() -> None:
    session = talked(3)
    session.rewind(0)

    assert session.rewind(2).session.cursor == 2


def test_rewinding_to_where_the_cursor_is_takes_a_revision() -> None:
    session = talked(1)
    revision = session.document.session.revision

    assert session.rewind(1).session.revision == revision + 1


def test_rewind_cancels_the_active_and_the_queued_turns_first() -> None:
    session = talked(1)
    session.say()
    session.say(if_active=IfActive.ENQUEUE)

    change = session.rewind(1, partial=Partial(replies=(a_reply("Hel"),)))

    assert [effect.type.value for effect in change.event.effects] == [
        "turn.cancelled",
        "turn.cancelled",
        "session.rewound",
    ]
    assert [turn.state for turn in session.document.turns[1:]] == [TurnState.CANCELLED] * 2
    assert session.turn("trn_2").replies[0].text == "Hel"
    assert (change.revokes_run, change.session.unfinished_count, change.event.line_from) == (True, 0, 1)


def test_rewind_takes_node_and_variables_from_the_caller() -> None:
    session = talked(1)
    session.say()
    session.answer(node="lobby", variables={"x": 1})
    session.say()
    session.answer(node="garden")

    change = session.rewind(2, node="lobby", variables={"x": 1})

    assert (change.session.node, change.session.variables) == ("lobby", {"x": 1})


def test_a_turn_cancelled_by_rewind_hands_on_its_node_only_while_in_effect() -> None:
    partial = Partial(node="lobby", variables={"x": 1})
    behind, in_effect = talked(1), talked(1)
    behind.say()
    in_effect.say()

    behind.rewind(1, partial=partial)
    in_effect.rewind(2, partial=partial)

    assert (behind.document.session.node, behind.document.session.variables) == ("start", {})
    assert (in_effect.document.session.node, in_effect.document.session.variables) == ("lobby", {"x": 1})


def test_restore_brings_the_line_back_and_discards_what_it_displaces() -> None:
    session = talked(3)
    session.rewind(1)
    session.talk(1)

    change = session.restore(1)

    assert session.turn_ids == ["trn_1", "trn_2", "trn_3"]
    assert (change.session.cursor, change.restored, change.trimmed) == (3, 1, ())
    assert change.discarded is not None
    assert (change.discarded.ordinal, change.discarded.branch) == (2, 1)
    assert (change.discarded.branch_point, change.discarded.line_count) == (1, 2)
    assert [(effect.type.value, effect.ordinal) for effect in change.event.effects] == [
        ("session.restored", 1)
    ]
    assert (change.event.type, change.event.line_from) == (EventType.SESSION_RESTORED, 1)


def test_restore_takes_turns_back_from_another_future() -> None:
    session = talked(4)
    session.rewind(3)
    session.talk(1)
    session.rewind(1)
    session.talk(1)

    change = session.restore(1)

    assert session.turn_ids == ["trn_1", "trn_2", "trn_3", "trn_4"]
    (trimmed,) = change.trimmed
    assert (trimmed.ordinal, trimmed.branch_point, trimmed.line_count) == (2, 3, 4)
    assert {turn.id for turn in session.document.discarded_turns} == {"trn_5", "trn_6"}


def test_restoring_twice_returns_to_the_first_line() -> None:
    session = talked(2)
    session.rewind(1)
    session.talk(2)
    before = session.turn_ids

    session.restore(1)
    session.restore(2)

    assert session.turn_ids == before


def test_a_restored_line_goes_on_where_it_ended() -> None:
    session = talked(2)
    session.rewind(1)
    session.talk(1)
    session.restore(1)

    change = session.say()

    assert change.created is not None
    assert (change.created.branch, change.created.position, change.discarded) == (0, 2, None)


def test_restore_cancels_the_active_turn_first() -> None:
    session = talked(2)
    session.rewind(1)
    session.say()

    change = session.restore(1)

    assert [effect.type.value for effect in change.event.effects] == ["turn.cancelled", "session.restored"]
    assert session.turn("trn_3").state is TurnState.CANCELLED
    assert change.revokes_run is True


def test_restore_insists_that_no_line_is_the_beginning_of_another() -> None:
    session = talked(2)
    present = DiscardedFuture(
        ordinal=1, branch=0, branch_point=1, line_count=2, discarded_at=START, discarded_by=ACTOR
    )

    with pytest.raises(InvariantViolated, match="no line is the beginning of another"):
        session.run(restore, ordinal=1, futures=(present,), branches=session.document.branches)


def test_regenerate_puts_a_pending_turn_in_the_place_of_one_and_what_follows() -> None:
    session = InMemorySession()
    session.talk(1)
    session.say("Who?", speaker="Bo")
    session.answer()
    session.talk(1)

    change = session.regenerate("trn_2")

    assert change.created is not None
    assert (change.created.position, change.created.branch, change.created.state) == (1, 1, "pending")
    assert change.created.user_message == UserMessage(text="Who?", speaker="Bo")
    assert change.opened == Branch(number=1, parent=0, branch_point=1)
    assert session.turn_ids == ["trn_1", "trn_4"]
    assert [turn.id for turn in session.document.discarded_turns] == ["trn_2", "trn_3"]
    assert (change.event.type, change.event.line_from) == (EventType.TURN_CREATED, 1)


def test_regenerate_with_text_keeps_the_speaker() -> None:
    session = InMemorySession()
    session.say("Who?", speaker="Bo")
    session.answer()

    change = session.regenerate("trn_1", "Where?")

    assert change.created is not None
    assert change.created.user_message == UserMessage(text="Where?", speaker="Bo")


def test_regenerate_runs_a_greeting_again() -> None:
    session = InMemorySession(greeting=FixedGreeting(turn_id="trn_0", speaker="Ada", text="Hello."))

    change = session.regenerate("trn_0")

    assert change.created is not None
    assert change.created.user_message is None
    assert change.opened == Branch(number=1, parent=None, branch_point=0)


def test_regenerating_the_active_turn_cancels_and_discards_it() -> None:
    session = talked(1)
    session.say()

    change = session.regenerate("trn_2", partial=Partial(replies=(a_reply("Hel"),)))

    assert [(effect.type.value, effect.turn_id) for effect in change.event.effects] == [
        ("turn.cancelled", "trn_2"),
        ("turn.created", "trn_3"),
    ]
    (discarded,) = session.document.discarded_turns
    assert (discarded.id, discarded.state) == ("trn_2", TurnState.CANCELLED)
    assert change.revokes_run is True


def test_regenerating_a_queued_turn_leaves_the_cancelled_active_one_on_the_line() -> None:
    session = talked(1)
    session.say()
    session.say(if_active=IfActive.ENQUEUE)

    change = session.regenerate("trn_3", partial=Partial(node="lobby", variables={}))

    assert session.turn_ids == ["trn_1", "trn_2", "trn_4"]
    assert session.turn("trn_2").state is TurnState.CANCELLED
    assert change.session.node == "lobby"


def test_a_turn_behind_the_cursor_is_regenerated_as_if_it_were_in_effect() -> None:
    session = talked(4)
    session.rewind(1)

    change = session.regenerate("trn_3")

    assert session.turn_ids == ["trn_1", "trn_2", "trn_5"]
    assert change.session.cursor == 3


@pytest.mark.parametrize("outcome", ["failed", "cancelled"])
def test_retry_regenerates_the_last_turn_that_came_to_nothing(outcome: str) -> None:
    session = talked(1)
    session.say("Who?")
    if outcome == "failed":
        session.fail()
    else:
        session.cancel("trn_2")

    change = session.retry("trn_2")

    assert change.created is not None
    assert change.created.user_message == UserMessage(text="Who?")
    assert session.turn_ids == ["trn_1", "trn_3"]
    assert session.document.discarded_turns[0].state == outcome


def test_retry_takes_the_last_turn_in_effect_after_a_rewind() -> None:
    session = InMemorySession()
    session.say()
    session.fail()
    session.talk(1)
    session.rewind(1)

    session.retry("trn_1")

    assert session.turn_ids == ["trn_3"]
