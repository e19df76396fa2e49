"""The checker finds what it is there for: a bad history is blamed for what is bad in it, a good one never."""

from collections.abc import Callable

import msgspec
import pytest

from tests.chaos.checker import check
from tests.chaos.facts import DeltaFact, EntryFact, EventFact, Facts, SessionFact, TurnFact
from tests.chaos.history import Call, History, Outcome, Read, SeenTurn, StreamedTurn

SESSION, TURN = "ses_1", "trn_1"
SAID = "word0 word1 "


def call(id_: str, operation: str, *, expected: int | None, at: float, revision: int | None = None) -> Call:
    return Call(
        id=id_,
        session_id=SESSION,
        operation=operation,
        expected=expected,
        began_at=at,
        ended_at=at + 0.5,
        sent_count=1,
        outcome=Outcome.ACKNOWLEDGED,
        revision=revision,
    )


def history() -> History:
    """A session is created, something is said and answered, the session is renamed; one rename is refused."""
    send = call("send", "send", expected=1, at=1, revision=2)
    send.turn_id, send.text = TURN, "Count. [[words=2]]"
    refused = call("refused", "rename", expected=2, at=3)
    refused.outcome = Outcome.REFUSED
    calls = [
        call("create", "create", expected=None, at=0, revision=1),
        send,
        refused,
        call("rename", "rename", expected=3, at=4, revision=4),
    ]
    return History(
        calls={made.id: made for made in calls},
        reads=[Read(session_id=SESSION, revision=3, began_at=2, ended_at=2.5)],
        seen={TURN: SeenTurn(turn_id=TURN, state="completed", text=SAID)},
        streamed=[StreamedTurn(turn_id=TURN, state="completed", text=SAID)],
    )


def event(revision: int, kind: str, call_id: str | None) -> EventFact:
    return EventFact(revision=revision, type=kind, call_id=call_id, effects=())


def delta(number: int, step_id: str, offset: int, text: str, kind: str = "delta") -> DeltaFact:
    return DeltaFact(number=number, step_id=step_id, kind=kind, offset=offset, text=text)


def entry(step_id: str, *, is_billable: bool = True, is_correction: bool = False) -> EntryFact:
    return EntryFact(
        turn_id=TURN,
        step_id=step_id,
        is_correction=is_correction,
        outcome="completed",
        is_billable=is_billable,
        reason="completed" if is_billable else "lost",
    )


def facts() -> Facts:
    """What the database holds after that; a first run of the turn was lost, and its call corrected."""
    return Facts(
        sessions={SESSION: SessionFact(id=SESSION, revision=4, renames={"rename": 3})},
        events={
            SESSION: [
                event(1, "session.created", "create"),
                event(2, "turn.created", "send"),
                event(3, "turn.completed", None),
                event(4, "session.updated", "rename"),
            ]
        },
        turns={
            TURN: TurnFact(
                id=TURN,
                session_id=SESSION,
                state="completed",
                user_text="Count. [[words=2]]",
                reply_text=SAID,
            )
        },
        deltas={
            TURN: [
                delta(1, "a", 0, "word0 "),
                delta(2, "a", 0, "", kind="restarted"),
                delta(3, "b", 0, "word0 "),
                delta(4, "b", 6, "word1 "),
            ]
        },
        entries=[
            entry("a", is_billable=False),
            entry("b"),
            entry("a", is_billable=False, is_correction=True),
        ],
    )


def kinds(told: History, found: Facts, *, is_calm: bool = False) -> set[str]:
    return {violation.kind for violation in check(told, found, is_calm=is_calm)}


def test_a_good_history_is_blamed_for_nothing() -> None:
    assert kinds(history(), facts()) == set()


def _lose_a_write(told: History, found: Facts) -> None:
    found.sessions[SESSION] = SessionFact(id=SESSION, revision=3, renames={})
    found.events[SESSION].pop()


def _keep_a_refused_write(told: History, found: Facts) -> None:
    told.calls["rename"].outcome = Outcome.REFUSED


def _do_a_call_twice(told: History, found: Facts) -> None:
    found.sessions[SESSION] = SessionFact(id=SESSION, revision=5, renames={"rename": 3})
    found.events[SESSION].append(event(5, "session.updated", "rename"))


def _accept_a_stale_write(told: History, found: Facts) -> None:
    told.calls["rename"].expected = 2


def _ask_for_nothing(told: History, found: Facts) -> None:
    del told.calls["rename"]


def _have_another_effect(told: History, found: Facts) -> None:
    found.events[SESSION][3] = event(4, "session.ended", "rename")


def _lose_the_change_of_an_event(told: History, found: Facts) -> None:
    found.sessions[SESSION] = SessionFact(id=SESSION, revision=4, renames={})


def _leave_a_gap_in_the_events(told: History, found: Facts) -> None:
    found.events[SESSION].pop(2)


def _answer_from_the_past(told: History, found: Facts) -> None:
    told.reads.append(Read(session_id=SESSION, revision=3, began_at=5, ended_at=5.1))


def _commit_behind_a_later_answer(told: History, found: Facts) -> None:
    told.reads.append(Read(session_id=SESSION, revision=4, began_at=3, ended_at=3.5))


def _lose_the_text_of_a_turn(told: History, found: Facts) -> None:
    found.turns[TURN] = msgspec.structs.replace(found.turns[TURN], user_text="Other. [[words=2]]")


def _leave_a_turn_unfinished(told: History, found: Facts) -> None:
    found.turns["trn_2"] = msgspec.structs.replace(found.turns[TURN], id="trn_2", state="pending")


def _leave_a_run(told: History, found: Facts) -> None:
    found.running.append(TURN)


def _change_a_final_turn(told: History, found: Facts) -> None:
    told.seen[TURN] = SeenTurn(turn_id=TURN, state="failed", text="")


def _cut_a_reply_short(told: History, found: Facts) -> None:
    found.turns[TURN] = msgspec.structs.replace(found.turns[TURN], reply_text="word0 ")


def _leave_a_gap_in_the_deltas(told: History, found: Facts) -> None:
    found.deltas[TURN][3] = delta(4, "b", 7, "word1 ")


def _show_two_calls_at_once(told: History, found: Facts) -> None:
    found.deltas[TURN][1] = delta(2, "a", 6, "word1 ")


def _leave_a_hole_in_the_delta_log(told: History, found: Facts) -> None:
    found.deltas[TURN].pop(1)


def _stream_what_is_not_stored(told: History, found: Facts) -> None:
    told.streamed[0] = StreamedTurn(turn_id=TURN, state="completed", text="word0 word0 word1 ")


def _stream_another_end(told: History, found: Facts) -> None:
    told.streamed[0] = StreamedTurn(turn_id=TURN, state="cancelled", text=SAID)


def _bill_a_turn_twice(told: History, found: Facts) -> None:
    found.entries[2] = entry("a", is_correction=True)


def _bill_a_call_twice(told: History, found: Facts) -> None:
    found.entries.append(entry("b"))


def _bill_nothing(told: History, found: Facts) -> None:
    found.entries.clear()


def _leave_a_call_open(told: History, found: Facts) -> None:
    found.open_steps.append("c")


def _let_the_doctor_find_something(told: History, found: Facts) -> None:
    found.findings.append(("ledger density", "counter 3, 2 rows"))


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (_lose_a_write, "an acknowledged write is lost"),
        (_keep_a_refused_write, "a refused call took effect"),
        (_do_a_call_twice, "a call took effect twice"),
        (_accept_a_stale_write, "a stale write was accepted"),
        (_ask_for_nothing, "an event that nobody asked for"),
        (_have_another_effect, "a call had another effect"),
        (_lose_the_change_of_an_event, "an event and its change differ"),
        (_leave_a_gap_in_the_events, "events are not dense"),
        (_answer_from_the_past, "an answer was older than one before it"),
        (_commit_behind_a_later_answer, "an answer was older than one before it"),
        (_lose_the_text_of_a_turn, "an acknowledged write is lost"),
        (_leave_a_turn_unfinished, "a turn is unfinished"),
        (_leave_a_run, "a run did not end"),
        (_change_a_final_turn, "a final turn changed"),
        (_cut_a_reply_short, "a reply is not what the model said"),
        (_leave_a_gap_in_the_deltas, "a delta log has a gap or a repetition"),
        (_show_two_calls_at_once, "two calls are shown at once"),
        (_leave_a_hole_in_the_delta_log, "a delta log is not dense"),
        (_stream_what_is_not_stored, "a stream is not the stored text"),
        (_stream_another_end, "a stream told another end"),
        (_bill_a_turn_twice, "a turn is billed twice"),
        (_bill_a_call_twice, "a call is in the ledger more than once"),
        (_bill_nothing, "a completed turn is not billed"),
        (_leave_a_call_open, "a call was never settled"),
        (_let_the_doctor_find_something, "doctor: ledger density"),
    ],
)
def test_a_bad_history_is_blamed_for_what_is_bad(spoil: Callable[[History, Facts], None], kind: str) -> None:
    told, found = history(), facts()

    spoil(told, found)

    assert kind in kinds(told, found)


def test_a_lost_call_is_blamed_on_a_run_in_which_nobody_was_harmed() -> None:
    assert "a call of a living process was settled as lost" in kinds(history(), facts(), is_calm=True)
