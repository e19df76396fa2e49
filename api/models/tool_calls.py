"""Puts tool calls together from the pieces in which they are streamed, whatever the server's habits.

OpenAI sends the id and the name first and then the arguments bit by bit, all under one index. Others repeat
the name or make up an id in every piece, give no id or no index, number every call 0, send a call whole, or
say a whole call twice.
"""

import uuid
from typing import Any

import msgspec

from api.models.base import FinishReason, ToolCall
from api.models.shapes import count_in, text_in
from api.models.text import storable

CALLS_MAX = 128
"""Of one answer."""

CHARACTERS_MAX = 1_000_000
"""Of all calls of one answer together: ids, names and arguments."""


class _Call:
    """A call of which not all may have come."""

    def __init__(self) -> None:
        self.id: str | None = None
        self.name: str | None = None
        self.pieces: list[str] = []
        self._read_count = 0
        """Of pieces, by `is_whole`: reading them all at every question takes long for long arguments."""
        self._depth = 0
        self._is_quoted = self._is_escaped = self._is_closed = False

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)

    @property
    def is_whole(self) -> bool:
        """The arguments are one object in braces, so nothing can follow."""
        for piece in self.pieces[self._read_count :]:
            for character in piece:
                self._read(character)
        self._read_count = len(self.pieces)
        return self._is_closed

    def _read(self, character: str) -> None:
        if self._is_escaped:
            self._is_escaped = False
        elif self._is_quoted:
            self._is_escaped = character == "\\"
            self._is_quoted = character != '"'
        elif character == '"':
            self._is_quoted = True
        elif character in "{}":
            self._depth += 1 if character == "{" else -1
            self._is_closed = self._depth == 0


class CallCollector:
    """The tool calls of one answer."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._character_count = 0

    @property
    def is_too_long(self) -> bool:
        """No answer in earnest asks for so much; listening further would only fill the memory."""
        return len(self._calls) > CALLS_MAX or self._character_count > CHARACTERS_MAX

    def feed(self, entries: object) -> bool:
        """Take over the `tool_calls` of a chunk of chat completions; False when it has none."""
        if not isinstance(entries, list):
            return False
        fed: list[_Call] = []
        for entry in entries:
            function = getattr(entry, "function", None)
            index, call_id = count_in(entry, "index"), text_in(entry, "id") or None
            name, arguments = text_in(function, "name") or None, _arguments_in(function)
            if name or arguments or call_id:
                call = self._call_for(index=index, call_id=call_id, name=name, arguments=arguments, fed=fed)
                if call is not None:
                    self._add(call, call_id=call_id, name=name, arguments=arguments)
                    fed.append(call)
        return bool(fed)

    def begin(self, *, index: int, call_id: str | None, name: str | None) -> None:
        """Begin a call where the server says clearly that one begins."""
        self._add(self._new(index=index), call_id=call_id, name=name, arguments="")

    def add_arguments(self, index: int, piece: str) -> None:
        """The next piece of the arguments of the call that began under `index`; nothing when none did."""
        if (call := self._by_index.get(index)) is not None:
            self._add(call, call_id=None, name=None, arguments=piece)

    def ending(self, reason: FinishReason) -> tuple[FinishReason, tuple[ToolCall, ...]]:
        """How the answer ends, as `Finished` has it, when the provider gives `reason`.

        Calls count whatever the reason, but not where the answer was cut short: they may not be whole.
        """
        if self.is_too_long or reason in (FinishReason.LENGTH, FinishReason.FILTER):
            return FinishReason.LENGTH if self.is_too_long else reason, ()
        if asked := self.calls():
            return FinishReason.TOOL_CALLS, asked
        return FinishReason.OTHER if reason is FinishReason.TOOL_CALLS else reason, ()

    def calls(self) -> tuple[ToolCall, ...]:
        """All that have a name, in order, each under an id of its own; the same ids at every asking."""
        taken: set[str] = set()
        for call in self._calls:
            if call.id is None or call.id in taken:
                call.id = f"call_{uuid.uuid4().hex[:24]}"
            taken.add(call.id)
        return tuple(
            ToolCall(id=storable(call.id or ""), name=storable(call.name), arguments=storable(call.arguments))
            for call in self._calls
            if call.name is not None
        )

    def _new(self, *, index: int | None) -> _Call:
        call = _Call()
        self._calls.append(call)
        if index is not None:
            self._by_index[index] = call
        return call

    def _add(self, call: _Call, *, call_id: str | None, name: str | None, arguments: str) -> None:
        if arguments.startswith("{") and call.is_whole and arguments.strip() == call.arguments.strip():
            return  # said once more
        call.id = call.id or call_id
        call.name = call.name or name
        call.pieces.append(arguments)
        self._character_count += len(call_id or "") + len(name or "") + len(arguments)

    def _call_for(
        self, *, index: int | None, call_id: str | None, name: str | None, arguments: str, fed: list[_Call]
    ) -> _Call | None:
        """The call that a piece belongs to, a new one, or None when nobody can tell."""
        if index is not None:
            candidate = self._by_index.get(index)
        elif call_id is not None and (name is not None or any(call.id == call_id for call in self._calls)):
            candidate = next((call for call in self._calls if call.id == call_id), None)
        else:
            candidate = self._calls[-1] if self._calls else None

        if candidate is None:
            is_nameable = index is not None or call_id is not None or name is not None
            return self._new(index=index) if is_nameable else None
        if name is None or candidate.name is None:
            return candidate
        # A piece with a name may begin a call or repeat what is known of one.
        if any(candidate is call for call in fed) or name != candidate.name:
            return self._new(index=index)
        if call_id is not None and call_id == candidate.id:
            return candidate
        if not candidate.is_whole:
            return candidate
        # Nothing can follow a whole object: more is another call, or the same told twice under its index.
        nothing_new = ("",) if index is None else ("", candidate.arguments.strip())
        is_repetition = call_id is None and arguments.strip() in nothing_new
        return candidate if is_repetition else self._new(index=index)


def _arguments_in(function: Any) -> str:
    """The text, or the text of an object that a server sent in its place."""
    arguments = getattr(function, "arguments", None)
    if isinstance(arguments, dict):
        return msgspec.json.encode(arguments).decode()
    return arguments if isinstance(arguments, str) else ""
