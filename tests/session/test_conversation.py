"""append, update and end."""

import msgspec
import pytest

from api.session import commands
from api.session.commands import IfActive, Partial
from api.session.document import Branch, Change, EventType, SessionState, TurnState, Usage, UserMessage
from api.session.errors import InvariantViolated
from tests.session.in_memory import ACTOR, START, InMemorySession, a_reply


def effects_of(change: Change) -> list[tuple[str, str | None]]:
    return [(effect.type.value, effect.turn_id) for effect in change.event.effects]


def test_append_adds_a_pending_turn_in_effect() -> None:
    session = InMemorySession()

    change = session.say("Hi.", speaker="Bo")

    assert change.created is not None
    assert change.created.user_message == UserMessage(text="Hi.", speaker="Bo")
    assert (change.created.state, change.created.position, change.created.revision) == ("pending", 0, 2)
    assert (change.session.cursor, change.session.turn_count) == (1, 1)
    assert change.session.active_turn_id == change.created.id
    assert (change.opened, change.discarded, change.revokes_run) == (None, None, False)
    assert (change.event.type, change.event.line_from) == (EventType.TURN_CREATED, 0)


def test_append_at_the_end_of_the_line_needs_no_line() -> None:
    session = InMemorySession()
    session.talk(2)

    change = session.say(line=None)

    assert change.created is not None
    assert change.created.position == 2


def test_append_behind_a_moved_cursor_discards_exactly_the_suffix() -> None:
    session = InMemorySession()
    session.talk(3)
    session.rewind(1)

    change = session.say()

    assert change.discarded is not None
    assert (change.discarded.ordinal, change.discarded.branch) == (1, 0)
    assert (change.discarded.branch_point, change.discarded.line_count) == (1, 3)
    assert change.opened == Branch(number=1, parent=0, branch_point=1)
    assert session.turn_ids == ["trn_1", "trn_4"]
    assert [turn.id for turn in session.document.discarded_turns] == ["trn_2", "trn_3"]


def test_append_before_the_first_turn_opens_a_branch_without_parent() -> None:
    session = InMemorySession()
    session.talk(1)
    session.rewind(0)

    change = session.say(line=None)

    assert change.opened == Branch(number=1, parent=None, branch_point=0)


def test_a_chain_of_branches_is_as_short_as_the_line_allows() -> None:
    session = InMemorySession()
    session.talk(2)
    for _ in range(5):
        session.rewind(1)
        session.talk(1)

    assert session.document.branches[-1] == Branch(number=5, parent=0, branch_point=1)


def test_append_insists_on_the_line_where_it_must_branch() -> None:
    session = InMemorySession()
    session.talk(2)
    session.rewind(1)

    with pytest.raises(InvariantViolated):
        session.say(line=None)


def test_an_enqueued_message_waits_behind_the_active_turn() -> None:
    session = InMemorySession()
    session.say()

    change = session.say(if_active=IfActive.ENQUEUE)

    assert change.session.active_turn_id == "trn_1"
    assert change.session.unfinished_count == 2
    assert change.revokes_run is False


def test_a_cancelled_turn_makes_room_in_the_queue() -> None:
    session = InMemorySession()
    for _ in range(9):
        session.say(if_active=IfActive.ENQUEUE)
    session.cancel("trn_5")

    session.say(if_active=IfActive.ENQUEUE)

    assert session.document.session.unfinished_count == 9


def test_interrupt_cancels_all_that_is_unfinished_and_appends_in_one_commit() -> None:
    session = InMemorySession()
    session.say()
    session.say(if_active=IfActive.ENQUEUE)

    change = session.say(
        if_active=IfActive.INTERRUPT,
        partial=Partial(replies=(a_reply("Hel"),), usage=Usage(output_tokens=1)),
    )

    assert effects_of(change) == [
        ("turn.cancelled", "trn_1"),
        ("turn.cancelled", "trn_2"),
        ("turn.created", "trn_3"),
    ]
    assert change.revokes_run is True
    assert change.event.line_from == 0
    assert session.turn_ids == ["trn_1", "trn_2", "trn_3"]
    assert session.turn("trn_1").replies[0].truncated is True
    assert session.turn("trn_1").usage == Usage(output_tokens=1)
    assert session.turn("trn_2").replies == ()


@pytest.mark.parametrize("if_active", list(IfActive))
def test_every_policy_appends_when_nothing_is_active(if_active: IfActive) -> None:
    session = InMemorySession()
    session.talk(1)

    change = session.say(if_active=if_active)

    assert effects_of(change) == [("turn.created", "trn_2")]


def test_update_changes_the_name_alone() -> None:
    session = InMemorySession()

    change = session.update(name="Demo")

    assert (change.session.name, change.metadata) == ("Demo", None)
    assert (change.event.type, change.event.line_from) == (EventType.SESSION_UPDATED, None)


def test_update_takes_the_name_away() -> None:
    session = InMemorySession()
    session.update(name="Demo")

    assert session.update(name=None).session.name is None


def test_update_replaces_the_metadata_and_keeps_the_name() -> None:
    session = InMemorySession()
    session.update(name="Demo")

    change = session.update(metadata={"ticket": 7})

    assert (change.session.name, change.metadata) == ("Demo", {"ticket": 7})


def test_an_update_that_says_nothing_new_is_a_commit() -> None:
    session = InMemorySession()

    change = session.update()

    assert change.session.revision == 2


def test_update_leaves_an_active_turn_alone() -> None:
    session = InMemorySession()
    session.say()

    change = session.update(name="Demo")

    assert (change.session.active_turn_id, change.revokes_run) == ("trn_1", False)


def test_end_cancels_what_is_unfinished_and_says_how() -> None:
    session = InMemorySession()
    session.talk(1)
    session.say()
    session.say(if_active=IfActive.ENQUEUE)

    change = session.end("solved", partial=Partial(replies=(a_reply(), a_reply("Al"))))

    assert effects_of(change) == [
        ("turn.cancelled", "trn_2"),
        ("turn.cancelled", "trn_3"),
        ("session.ended", None),
    ]
    assert (change.session.state, change.session.resolution) == (SessionState.ENDED, "solved")
    assert change.session.ended_at == change.event.at
    assert (change.session.active_turn_id, change.revokes_run) == (None, True)
    assert [reply.truncated for reply in session.turn("trn_2").replies] == [False, True]


def test_a_cancelled_turn_in_effect_hands_on_the_node_of_its_finished_steps() -> None:
    session = InMemorySession()
    session.say()

    change = session.end(partial=Partial(node="lobby", variables={"x": 1}))

    assert (change.session.node, change.session.variables) == ("lobby", {"x": 1})
    assert session.turn("trn_1").state is TurnState.CANCELLED


def test_a_head_that_lacks_an_unfinished_turn_is_our_fault() -> None:
    session = InMemorySession()
    session.say()
    head = msgspec.structs.replace(session.head, unfinished=())

    with pytest.raises(InvariantViolated, match="a head holds exactly the unfinished turns"):
        commands.update(head, name="Demo", now=START, actor=ACTOR)
