"""What the fake provider does with one request, in no dialect."""

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

DIRECTIVE = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)

CallStyle = Literal[
    "plain",
    "names_repeated",
    "ids_renewed",
    "no_ids",
    "no_index",
    "bare",
    "index_zero",
    "whole",
    "whole_bare",
    "objects",
    "said_twice",
]


class PlannedCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tool call that the server makes the model ask for."""

    name: str
    arguments: str = "{}"
    id: str | None = None
    """None counts the calls of all requests: `call_1`, `call_2`."""


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the server does with one request. `*_after` counts the pieces sent before, be they of reasoning,
    text or calls, in this order; None is never."""

    words: int | None = None
    """None is eight, and none where there are calls."""
    text: str | None = None
    """Said instead of numbered words."""
    calls: tuple[PlannedCall, ...] = ()
    """Asked for behind the text; in a directive `calls=lookup:{"day":"monday"};other:{}`."""
    call_style: CallStyle = "plain"
    """Habits of servers that speak chat completions: what a piece of a call holds beside arguments."""
    call_characters: int = 5
    """Of the arguments, in every piece."""
    stops_after_calls: bool = False
    """As some servers do: the finish reason is `stop` though there are calls."""
    reasoning: str | None = None
    """Thought aloud before everything else, word by word."""
    reasoning_field: Literal["reasoning_content", "reasoning"] = "reasoning_content"
    delay_ms: int = 0
    """Before every piece."""
    status: int = 200
    error_type: str | None = None
    error_message: str = "The fake provider was told to refuse."
    retry_after: str | None = None
    usage: Literal["after_finish", "with_finish", "with_text", "none"] = "after_finish"
    finish_reason: str | None = "stop"
    """In the dialect that is spoken, `stop` in both, which is the dialect's own word where there are calls;
    None ends the stream without one."""
    input_tokens: int = 20
    """As the dialect counts them: without cached tokens in Anthropic's."""
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    counts_reasoning_beside: bool = False
    """As some compatible servers do: the completion's tokens leave reasoning out, the total has it."""
    is_noisy: bool = False
    """Chunks without choices, repeated roles and names, null fields, comments, pings."""
    cut_after: int | None = None
    """The connection is dropped."""
    stall_after: int | None = None
    """Nothing more is sent until the client goes away."""
    stalls_after_finish: bool = False
    cuts_after_finish: bool = False
    garbage_after: int | None = None
    garbage: str = "{not json"
    """Sent as the data of an event."""
    error_after: int | None = None
    """An error is told inside the stream."""
    ends_after: int | None = None
    """The stream ends in good order, but too early."""

    @property
    def pieces(self) -> list[str]:
        """The text as it is sent."""
        if self.text is not None:
            return _words(self.text)
        count = (0 if self.calls else 8) if self.words is None else self.words
        return [f"word{number} " for number in range(count)]

    @property
    def thoughts(self) -> list[str]:
        """The reasoning as it is sent."""
        return _words(self.reasoning or "")

    def call_pieces(self, call: PlannedCall) -> list[str]:
        """A call's arguments as they are sent; the first piece, with the name, has none of them."""
        if self.call_style in ("whole", "whole_bare", "objects"):
            return [call.arguments]
        size = self.call_characters
        pieces = [call.arguments[at : at + size] for at in range(0, len(call.arguments), size)]
        return ["", *pieces, call.arguments] if self.call_style == "said_twice" else ["", *pieces]


def planned_in(written: str) -> Plan:
    """Read a directive: `words=50 delay_ms=10`.

    Raises:
        ValueError: it cannot be read.
    """
    fields: dict[str, Any] = dict(item.split("=", 1) for item in written.split())
    if "calls" in fields:
        named = [item.partition(":") for item in fields["calls"].split(";")]
        fields["calls"] = [{"name": name, "arguments": arguments} for name, _, arguments in named]
    return msgspec.convert(fields, Plan, strict=False)


def plan_written_in(messages: list[Mapping[str, Any]]) -> Plan:
    """By the user's last message that has words: its first directive, and the next ones for the requests
    that follow when calls have been answered; eight words where there is none.

    Raises:
        ValueError: it cannot be read.
    """
    answered_count = 0
    for message in reversed(messages):
        if message.get("role") == "assistant":
            answered_count += 1
        elif message.get("role") == "user" and (said := words_of(message)):
            directives = DIRECTIVE.findall(said)
            return planned_in(directives[answered_count]) if answered_count < len(directives) else Plan()
    return Plan()


def words_of(message: Mapping[str, Any]) -> str:
    """A message's text, whether it is sent as such or in blocks."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(str(block.get("text", "")) for block in content)


def _words(text: str) -> list[str]:
    return re.findall(r"\S+\s*|^\s+", text)
