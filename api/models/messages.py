"""The order of roles that every provider accepts: user first, then by turns, each call beside its result.

OpenAI takes any order, but the chat templates of many models behind compatible servers do not, and
Anthropic demands a user message first. One rule for all of them keeps a session the same everywhere.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from api.models.base import Message

OPENING_TEXT = "(The conversation begins.)"
"""Stands in for the user where the agent spoke first, or is to speak first."""

NO_RESULT_TEXT = "(There is no result of this call.)"
"""Stands in for a result that never came: every provider refuses a call without one."""


class AnsweredCall(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call of the model, and what came of it."""

    id: str
    """Unique in the request, as Anthropic demands; some servers count their calls from 0 in every answer."""
    name: str
    arguments: str
    """As the model wrote them, which need not be JSON."""
    result: str


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One or more messages of one role, as they are sent."""

    role: Literal["user", "assistant"]
    text: str
    """Empty only of an assistant that called tools without a word."""
    calls: tuple[AnsweredCall, ...] = ()
    """Of the assistant. Their results stand at the user's place, so the next exchange may be anybody's."""


def alternating(messages: Sequence[Message]) -> list[Exchange]:
    """Join neighbours of one role, put results to their calls, and begin with the user.

    Speakers' names are written before their text (`Ada: ...`): the field that OpenAI has for them takes no
    spaces, and others have none. A result that answers no call is left out, for every provider refuses it.
    """
    calls_at = _answered_calls(messages)
    exchanges: list[Exchange] = []
    for position, message in enumerate(messages):
        if message.role != "tool":
            _append(exchanges, message.role, _spoken(message), calls_at.get(position, ()))
    if not exchanges or exchanges[0].role == "assistant":
        exchanges.insert(0, Exchange(role="user", text=OPENING_TEXT))
    return exchanges


def with_calls_as_text(exchanges: Sequence[Exchange]) -> list[Exchange]:
    """The same conversation without calls: they are told in words, for a request that offers no tools."""
    told: list[Exchange] = []
    for exchange in exchanges:
        asked = [f"[Called {call.name} with {call.arguments or '{}'}]" for call in exchange.calls]
        _append(told, exchange.role, _joined(exchange.text, *asked), ())
        if exchange.calls:
            answered = [f"[{call.name} answered]\n{call.result}" for call in exchange.calls]
            _append(told, "user", _joined(*answered), ())
    return told


def arguments_object(arguments: str) -> dict[str, Any]:
    """A call's arguments as providers take them back: they refuse, or fail on, what is no JSON object."""
    if not arguments.strip():
        return {}
    try:
        value = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"unreadable": arguments}


def _append(
    exchanges: list[Exchange],
    role: Literal["user", "assistant"],
    text: str,
    calls: tuple[AnsweredCall, ...],
) -> None:
    if exchanges and exchanges[-1].role == role and not exchanges[-1].calls:
        text = _joined(exchanges.pop().text, text)
    exchanges.append(Exchange(role=role, text=text, calls=calls))


def _answered_calls(messages: Sequence[Message]) -> dict[int, tuple[AnsweredCall, ...]]:
    """By the position of the message that asked."""
    results: dict[tuple[int, str], str] = {}
    asked_at: dict[str, int] = {}
    for position, message in enumerate(messages):
        asked_at.update((call.id, position) for call in message.tool_calls)
        if message.tool_call_id in asked_at:
            results[asked_at.pop(message.tool_call_id), message.tool_call_id] = message.text

    taken: set[str] = set()
    return {
        position: tuple(
            AnsweredCall(
                id=_untaken(call.id, taken),
                name=call.name,
                arguments=call.arguments,
                result=results.get((position, call.id), NO_RESULT_TEXT),
            )
            for call in message.tool_calls
        )
        for position, message in enumerate(messages)
    }


def _untaken(wanted: str, taken: set[str]) -> str:
    free, number = wanted, 1
    while free in taken:
        number += 1
        free = f"{wanted}_{number}"
    taken.add(free)
    return free


def _spoken(message: Message) -> str:
    return message.text if message.name is None else f"{message.name}: {message.text}"


def _joined(*texts: str) -> str:
    return "\n\n".join(text for text in texts if text)
