"""What a session should do, said as naively as possible: lists of turn ids, copied whole.

It knows no branches, no branch points and no positions, so that it cannot share a mistake with the core.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

QUEUED_MAX = 8


class ModelRefused(Exception):
    """The model would not do this, and says with which code the core must refuse it."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class ModelTurn:
    text: str | None
    state: str = "pending"
    node: str | None = None
    variables: dict[str, Any] | None = None
    asked: dict[str, str] = field(default_factory=dict)
    """What the turn ever asked people for, and what they said: `open`, `approved` or `denied`."""


@dataclass
class ModelFuture:
    whole_line: list[str]
    own: list[str]


@dataclass
class Model:
    """A session as lists: the line, and every discarded line beside the turns that only it keeps."""

    line: list[str] = field(default_factory=list)
    cursor: int = 0
    futures: dict[int, ModelFuture] = field(default_factory=dict)
    turns: dict[str, ModelTurn] = field(default_factory=dict)
    ordinals_given: int = 0
    revision: int = 1
    ended: bool = False

    @property
    def unfinished(self) -> list[str]:
        waiting = ("pending", "awaiting_approval")
        return [turn for turn in self.line if self.turns[turn].state in waiting]

    def standing(self, in_effect: list[str]) -> tuple[str, dict[str, Any]]:
        """Node and variables after these turns."""
        for turn in reversed(in_effect):
            stored = self.turns[turn]
            if stored.variables is not None:
                assert stored.node is not None
                return stored.node, deepcopy(stored.variables)
        return "start", {}

    def append(self, new: str, text: str, if_active: str, cut: ModelTurn | None) -> None:
        self._admit()
        if self.unfinished and if_active == "reject":
            raise ModelRefused("turn-active")
        if if_active == "enqueue" and len(self.unfinished) > QUEUED_MAX:
            raise ModelRefused("queue-full")
        if if_active == "interrupt":
            self._cancel_all(cut)
        self._put(new, text, behind=self.cursor)

    def update(self) -> None:
        self._admit()
        self.revision += 1

    def rewind(self, to: int, cut: ModelTurn | None) -> None:
        self._admit()
        if to < 0 or to > len(self.line):
            raise ModelRefused("cursor-out-of-range")
        self._cancel_all(cut)
        self.cursor = to
        self.revision += 1

    def regenerate(self, old: str, new: str, text: str | None, cut: ModelTurn | None) -> None:
        self._admit()
        if old not in self.line:
            raise ModelRefused("turn-not-on-line")
        if text is not None and self.turns[old].text is None:
            raise ModelRefused("greeting-has-no-user-message")
        self._cancel_all(cut)
        self._put(new, self.turns[old].text if text is None else text, behind=self.line.index(old))

    def retry(self, old: str, new: str, cut: ModelTurn | None) -> None:
        self._admit()
        if old not in self.line:
            raise ModelRefused("turn-not-on-line")
        if self.line[: self.cursor][-1:] != [old] or self.turns[old].state not in ("failed", "cancelled"):
            raise ModelRefused("turn-not-retryable")
        self.regenerate(old, new, None, cut)

    def restore(self, ordinal: int, cut: ModelTurn | None) -> None:
        self._admit()
        if ordinal not in self.futures:
            raise ModelRefused("unknown-future")
        self._cancel_all(cut)
        old_line, self.line = self.line, self.futures.pop(ordinal).whole_line
        self.cursor = len(self.line)
        for future in self.futures.values():
            future.own = [turn for turn in future.own if turn not in self.line]
        self._discard(old_line)
        self.revision += 1

    def ask(self, turn: str, new: list[str]) -> None:
        self._admit()
        self._require_active(turn)
        if self.turns[turn].state == "awaiting_approval":
            raise ModelRefused("turn-awaits-approval")
        self.turns[turn].asked |= dict.fromkeys(new, "open")
        self.turns[turn].state = "awaiting_approval"
        self.revision += 1

    def decide(self, turn: str, approval: str, decision: str) -> None:
        asked = self.turns[turn].asked
        if approval not in asked:
            raise ModelRefused("unknown-approval")
        if asked[approval] != "open":
            raise ModelRefused("approval-decided")
        if self.turns[turn].state != "awaiting_approval":
            raise ModelRefused("approval-closed")
        asked[approval] = decision
        if "open" not in asked.values():
            self.turns[turn].state = "pending"
        self.revision += 1

    def complete(
        self, turn: str, node: str | None, variables: dict[str, Any] | None, ends: bool = False
    ) -> None:
        self._admit()
        self._require_active(turn)
        if self.turns[turn].state == "awaiting_approval":
            raise ModelRefused("turn-awaits-approval")
        if node is not None or variables is not None:
            node_before, variables_before = self.standing(self.line[: self.cursor])
            self.turns[turn].node = node_before if node is None else node
            self.turns[turn].variables = variables_before if variables is None else variables
        self.turns[turn].state = "completed"
        if ends:
            self._cancel_all(None)
            self.ended = True
        self.revision += 1

    def fail(self, turn: str) -> None:
        self._admit()
        self._require_active(turn)
        self.turns[turn].state = "failed"
        self.revision += 1

    def cancel(self, turn: str, cut: ModelTurn | None) -> None:
        self._admit()
        if self.turns[turn].state == "cancelled":
            raise ModelRefused("already-cancelled")
        if turn not in self.unfinished:
            raise ModelRefused("turn-final")
        self._cancel(turn, cut)
        self.revision += 1

    def end(self, cut: ModelTurn | None) -> None:
        self._admit()
        self._cancel_all(cut)
        self.ended = True
        self.revision += 1

    def fork(self, copies: list[str]) -> "Model":
        """A session that begins with copies of the first turns."""
        turns = {new: deepcopy(self.turns[old]) for old, new in zip(self.line, copies, strict=False)}
        for turn in turns.values():
            turn.asked = {}
        return Model(line=list(copies), cursor=len(copies), turns=turns)

    def _admit(self) -> None:
        if self.ended:
            raise ModelRefused("session-ended")

    def _require_active(self, turn: str) -> None:
        if self.unfinished[:1] != [turn]:
            raise ModelRefused("turn-not-active")

    def _cancel_all(self, cut: ModelTurn | None) -> None:
        active = self.unfinished[:1]
        for turn in self.unfinished:
            self._cancel(turn, cut if [turn] == active else None)

    def _cancel(self, turn: str, cut: ModelTurn | None) -> None:
        if cut is not None and self.unfinished[0] == turn:
            self.turns[turn].node, self.turns[turn].variables = cut.node, cut.variables
        self.turns[turn].state = "cancelled"

    def _put(self, new: str, text: str | None, *, behind: int) -> None:
        old_line, self.line = self.line, [*self.line[:behind], new]
        self._discard(old_line)
        self.turns[new] = ModelTurn(text=text)
        self.cursor = len(self.line)
        self.revision += 1

    def _discard(self, old_line: list[str]) -> None:
        own = [turn for turn in old_line if turn not in self.line]
        if own:
            self.ordinals_given += 1
            self.futures[self.ordinals_given] = ModelFuture(whole_line=old_line, own=own)
