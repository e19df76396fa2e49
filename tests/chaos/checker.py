"""The proof: what must hold between the clients' histories and the database, whatever was killed.

    writes      every session is a compare-and-swap register: each event follows the revision that its call
                was based on; what was acknowledged is there, what was refused is not, nothing is there twice
    order       what began after an answer comes behind what that answer told
    turns       none is left unfinished; final turns never change; the text is what the model said
    deltas      what readers were shown is, byte for byte, what the turn has kept
    ledger      at most one billable success per turn, none missing; every call that was started is settled

Density, totals and the law of the document are `turnledger doctor`'s, whose findings count here as well.
"""

import re
from collections import defaultdict
from collections.abc import Iterator

import msgspec

from tests.chaos.facts import DeltaFact, Facts, TurnFact
from tests.chaos.history import Call, History, Outcome

_WORDS = re.compile(r"\[\[words=(\d+)")
_EVENT_OF = {
    "create": "session.created",
    "send": "turn.created",
    "regenerate": "turn.created",
    "retry": "turn.created",
    "rewind": "session.rewound",
    "restore": "session.restored",
    "rename": "session.updated",
    "cancel": "turn.cancelled",
    "end": "session.ended",
    "decide": "approval.decided",
}
_MAKES_TURN = frozenset({"send", "regenerate", "retry"})


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that must not be."""

    kind: str
    detail: str


def check(history: History, facts: Facts, *, is_calm: bool = False) -> list[Violation]:
    """Find everything that does not hold. `is_calm`: no process that runs turns was harmed in this run."""
    found = [
        *_writes(history, facts),
        *_order(history, facts),
        *_turns(history, facts),
        *_shown(facts),
        *_streamed(history, facts),
        *_ledger(facts, is_calm=is_calm),
        *history.complaints,
        *((f"doctor: {name}", detail) for name, detail in facts.findings),
    ]
    return [Violation(kind=kind, detail=detail) for kind, detail in found]


Found = Iterator[tuple[str, str]]


def _writes(history: History, facts: Facts) -> Found:
    made: dict[str, list[tuple[str, int, str]]] = defaultdict(list)
    for session_id, events in facts.events.items():
        for event in events:
            if event.call_id is None:
                continue
            made[event.call_id].append((session_id, event.revision, event.type))
            if event.call_id not in history.calls:
                yield "an event that nobody asked for", f"{session_id} {event}"
    for session in facts.sessions.values():
        revisions = [event.revision for event in facts.events.get(session.id, ())]
        if revisions != list(range(1, session.revision + 1)):
            yield "events are not dense", f"{session.id} at {session.revision}: {revisions[-5:]}"
    for call in history.calls.values():
        yield from _call(call, made.get(call.id, []), facts)


def _call(call: Call, made: list[tuple[str, int, str]], facts: Facts) -> Found:
    if len(made) > 1:
        yield "a call took effect twice", f"{call} {made}"
    if call.outcome is Outcome.REFUSED and made:
        yield "a refused call took effect", f"{call} {made}"
    for session_id, revision, kind in made:
        if call.session_id and session_id != call.session_id:
            yield "a call took effect elsewhere", f"{call} {made}"
        if call.expected is not None and revision != call.expected + 1:
            yield "a stale write was accepted", f"{call} made revision {revision}"
        if kind != _EVENT_OF[call.operation]:
            yield "a call had another effect", f"{call} {made}"
    if call.operation == "rename" and call.session_id in facts.sessions:
        has_left = call.id in facts.sessions[call.session_id].renames
        if has_left != bool(made):
            yield "an event and its change differ", f"{call} {made} in the metadata: {has_left}"
    if call.outcome is not Outcome.ACKNOWLEDGED:
        return
    if call.operation == "cancel":
        turn = facts.turns.get(call.turn_id or "")
        if turn is None or turn.state != "cancelled":
            yield "an acknowledged write is lost", f"{call} but the turn is {turn}"
        return
    if not any(revision == call.revision for _, revision, _ in made):
        yield "an acknowledged write is lost", f"{call} {made}"
    if call.operation in _MAKES_TURN:
        turn = facts.turns.get(call.turn_id or "")
        if turn is None or (call.text is not None and turn.user_text != call.text):
            yield "an acknowledged write is lost", f"{call} but its turn is {turn}"


def _order(history: History, facts: Facts) -> Found:
    """Hold the revisions of each session against the clock: later calls come behind earlier answers."""
    revision_of = {
        event.call_id: event.revision
        for events in facts.events.values()
        for event in events
        if event.call_id is not None
    }
    # (instant, 0 for an answer and 1 for a beginning, revision, whether it must be above, who)
    marks: dict[str, list[tuple[float, int, int, bool, str]]] = defaultdict(list)
    for read in history.reads:
        marks[read.session_id].append((read.ended_at, 0, read.revision, False, "read"))
        if read.session_id:
            marks[read.session_id].append((read.began_at, 1, read.revision, False, "read"))
    for call in history.calls.values():
        if (revision := revision_of.get(call.id)) is None or call.operation == "create":
            continue
        marks[call.session_id].append((call.began_at, 1, revision, True, call.id))
        if call.ended_at is not None:
            marks[call.session_id].append((call.ended_at, 0, revision, True, call.id))
    for session_id, told in marks.items():
        highest, by = 0, ""
        for instant, is_beginning, revision, is_write, who in sorted(told):
            if not is_beginning:
                if revision > highest:
                    highest, by = revision, who
            elif revision < highest or (revision == highest and is_write):
                yield (
                    "an answer was older than one before it",
                    f"{session_id}: {who} saw or made {revision} at {instant:.3f}, behind {highest} of {by}",
                )


def _turns(history: History, facts: Facts) -> Found:
    for turn in facts.turns.values():
        if turn.state not in ("completed", "failed", "cancelled"):
            yield "a turn is unfinished", f"{turn}"
        promised = _promised(turn)
        if promised is None:
            continue
        if turn.state == "completed" and turn.reply_text != promised:
            yield "a reply is not what the model said", f"{turn}"
        if not promised.startswith(turn.reply_text or ""):
            yield "a reply is not what the model said", f"{turn}"
    for seen in history.seen.values():
        stored = facts.turns.get(seen.turn_id)
        if stored is None or (stored.state, stored.reply_text or "") != (seen.state, seen.text):
            yield "a final turn changed", f"a client saw {seen}, stored is {stored}"
    for turn_id in facts.running:
        yield "a run did not end", turn_id


def _promised(turn: TurnFact) -> str | None:
    written = _WORDS.search(turn.user_text or "")
    return None if written is None else "".join(f"word{number} " for number in range(int(written[1])))


def _shown(facts: Facts) -> Found:
    for turn_id, log in facts.deltas.items():
        turn = facts.turns.get(turn_id)
        if turn is None:
            continue
        if [entry.number for entry in log] != list(range(1, len(log) + 1)):
            yield "a delta log is not dense", f"{turn_id}: {[entry.number for entry in log]}"
        texts, faults = screen(log)
        for fault in faults:
            yield "a delta log has a gap or a repetition", f"{turn_id}: {fault}"
        if len(texts) > 1 and not turn.asks_for_tools:
            yield "two calls are shown at once", f"{turn_id}: {sorted(texts)}"
        text = "".join(texts.values())
        if turn.state in ("completed", "cancelled") and text != (turn.reply_text or ""):
            yield "what was shown is not what was kept", f"{turn} shown: {text!r}"
    for turn in facts.turns.values():
        if turn.state == "completed" and turn.user_text and turn.reply_text and turn.id not in facts.deltas:
            yield "what was shown is not what was kept", f"{turn} without deltas"


def screen(log: list[DeltaFact]) -> tuple[dict[str, str], list[str]]:
    """What a reader of a delta log has on the screen at its end, by step, and what was wrong on the way."""
    texts: dict[str, str] = {}
    faults = []
    for entry in log:
        if entry.kind == "restarted":
            texts.pop(entry.step_id, None)
            continue
        before = texts.get(entry.step_id, "")
        if entry.offset != len(before):
            faults.append(f"{entry} behind {len(before)} code points")
        texts[entry.step_id] = before + entry.text
    return texts, faults


def _streamed(history: History, facts: Facts) -> Found:
    for told in history.streamed:
        turn = facts.turns.get(told.turn_id)
        if turn is None or turn.state != told.state:
            yield "a stream told another end", f"{told}, stored is {turn}"
        elif turn.state in ("completed", "cancelled") and told.text != (turn.reply_text or ""):
            yield "a stream is not the stored text", f"{told}, stored is {turn}"


def _ledger(facts: Facts, *, is_calm: bool) -> Found:
    in_force: dict[str, tuple[str, bool, str]] = {}
    originals: dict[str, int] = defaultdict(int)
    for entry in facts.entries:
        originals[entry.step_id] += not entry.is_correction
        # A correction says what a call came to after all.
        in_force[entry.step_id] = (
            entry.turn_id,
            entry.is_billable and entry.outcome == "completed",
            entry.reason,
        )
    for step_id, count in originals.items():
        if count != 1:
            yield "a call is in the ledger more than once", f"step {step_id}: {count} original rows"
    successes: dict[str, int] = defaultdict(int)
    for turn_id, is_success, _ in in_force.values():
        successes[turn_id] += is_success
    for turn_id, count in successes.items():
        turn = facts.turns.get(turn_id)
        if count > (1 if turn is None else turn.model_calls_max):
            yield "a turn is billed twice", f"{turn_id}: {count} billable successes"
    for turn in facts.turns.values():
        if turn.state == "completed" and turn.user_text is not None and successes[turn.id] == 0:
            yield "a completed turn is not billed", f"{turn}"
    for step_id in facts.open_steps:
        yield "a call was never settled", f"step {step_id}"
    if is_calm:
        for step_id, (turn_id, _, reason) in in_force.items():
            if reason == "lost":
                yield "a call of a living process was settled as lost", f"{turn_id} step {step_id}"
