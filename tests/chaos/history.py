"""What the clients did and were told: the half of the truth that the checker holds against the database."""

from enum import StrEnum
from typing import Any

import msgspec


class Outcome(StrEnum):
    """What a client knows of a call when it gives up asking."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    """Told that nothing was changed, by an answer that holds for every time the call was sent."""
    UNKNOWN = "unknown"
    """No answer, or a refusal that may have come after an earlier sending had its effect."""


class Call(msgspec.Struct, kw_only=True):
    """One write that a client wanted, however often it was sent."""

    id: str
    """Idempotency key, and whom the call says it acts for: the event that it makes names it."""
    session_id: str
    operation: str
    expected: int | None
    """The revision that it was based on; None takes any."""
    began_at: float
    """On the clock that all clients share."""
    ended_at: float | None = None
    """None while nobody knows whether it may still take effect."""
    sent_count: int = 0
    outcome: Outcome = Outcome.UNKNOWN
    status: int | None = None
    revision: int | None = None
    """The one that it made, as it was told; None where that is not told."""
    turn_id: str | None = None
    """The turn that it made or cancelled."""
    text: str | None = None
    """What the user said, where a turn was made."""


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """A revision that a client was shown."""

    session_id: str
    revision: int
    began_at: float
    ended_at: float


class SeenTurn(msgspec.Struct, frozen=True, kw_only=True):
    """A turn that was final when a client saw it; it may never change again."""

    turn_id: str
    state: str
    text: str


class StreamedTurn(msgspec.Struct, frozen=True, kw_only=True):
    """A turn as a reader of the stream had it on the screen when its end was told."""

    turn_id: str
    state: str
    text: str


class History(msgspec.Struct, kw_only=True):
    """Everything, of all clients."""

    calls: dict[str, Call] = {}
    reads: list[Read] = []
    seen: dict[str, SeenTurn] = {}
    streamed: list[StreamedTurn] = []
    resume_count: int = 0
    """How often a reader of a stream came back with the id of the last event that it had."""
    complaints: list[tuple[str, str]] = []
    """What a client saw at once to be wrong: kind, and what it was."""

    def saw(self, session: dict[str, Any], *, began_at: float, ended_at: float) -> None:
        """Note the revision of an answer, and the final turns in it."""
        self.reads.append(
            Read(session_id=session["id"], revision=session["revision"], began_at=began_at, ended_at=ended_at)
        )
        for turn in session["turns"]:
            if turn["state"] not in ("completed", "failed", "cancelled"):
                continue
            seen = SeenTurn(
                turn_id=turn["id"],
                state=turn["state"],
                text="".join(reply["text"] for reply in turn["replies"]),
            )
            if self.seen.setdefault(seen.turn_id, seen) != seen:
                self.complain("a final turn changed", f"{self.seen[seen.turn_id]} then {seen}")

    def complain(self, kind: str, detail: str) -> None:
        """Note what must not be."""
        self.complaints.append((kind, detail))

    def count(self, outcome: Outcome) -> int:
        """How many calls ended so."""
        return sum(call.outcome is outcome for call in self.calls.values())
