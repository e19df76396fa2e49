"""The order of roles that every provider accepts: user first, then by turns.

OpenAI takes any order, but the chat templates of many models behind compatible servers do not, and
Anthropic demands a user message first. One rule for all of them keeps a session the same everywhere.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from api.models.base import Message

OPENING_TEXT = "(The conversation begins.)"
"""Stands in for the user where the agent spoke first, or is to speak first."""


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One or more messages of one role, as they are sent."""

    role: Literal["user", "assistant"]
    text: str


def alternating(messages: Sequence[Message]) -> list[Exchange]:
    """Join neighbours of one role, and begin with the user.

    Speakers' names are written before their text (`Ada: ...`): the field that OpenAI has for them takes no
    spaces, and others have none.
    """
    exchanges: list[Exchange] = []
    if not messages or messages[0].role == "assistant":
        exchanges.append(Exchange(role="user", text=OPENING_TEXT))
    for message in messages:
        if message.role == "tool":
            continue
        text = message.text if message.name is None else f"{message.name}: {message.text}"
        if exchanges and exchanges[-1].role == message.role:
            text = f"{exchanges.pop().text}\n\n{text}"
        exchanges.append(Exchange(role=message.role, text=text))
    return exchanges
