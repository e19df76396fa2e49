"""What a tool brought, as text that the model can be shown and that can be stored."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from api.models.text import storable
from api.runner.tools.base import ToolOutcome, ToolResult

REDACTED = "***"
_REDACTED_CHARACTERS_MIN = 4
"""Shorter secrets are no secrets, and taking them out would tear words apart."""


def completed(content: str, *, bytes_max: int) -> ToolResult:
    """The call was made and answered."""
    return ToolResult(outcome=ToolOutcome.COMPLETED, content=bounded(content, bytes_max=bytes_max))


def failed(sentence: str, *, bytes_max: int = 4_096) -> ToolResult:
    """The call was not made, or answered that it could not."""
    return ToolResult(outcome=ToolOutcome.FAILED, content=bounded(sentence, bytes_max=bytes_max))


def unknown(sentence: str) -> ToolResult:
    """The call was begun and nobody knows what became of it."""
    return ToolResult(outcome=ToolOutcome.UNKNOWN, content=bounded(sentence, bytes_max=4_096))


def bounded(text: str, *, bytes_max: int) -> str:
    """Make a text storable and cut it where it is longer than the limit, saying so."""
    text = storable(text)
    encoded = text.encode()
    if len(encoded) <= bytes_max:
        return text
    note = f"\n[cut: the first part of {len(encoded)} bytes]"
    kept = encoded[: max(0, bytes_max - len(note))].decode(errors="ignore")
    return kept + note


def as_text(value: Any) -> str:
    """A JSON value as the model reads it: a string as it is, everything else as compact JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def redacted(text: str, secrets: Iterable[str]) -> str:
    """Take secrets out of a text, also as they look in JSON and in a URL."""
    for secret in secrets:
        if len(secret) >= _REDACTED_CHARACTERS_MIN:
            escaped = msgspec.json.encode(secret).decode()[1:-1]
            for form in (secret, escaped, quote(secret, safe="")):
                text = text.replace(form, REDACTED)
    return text


def at_pointer(value: Any, pointer: str) -> Any:
    """Follow a JSON pointer (RFC 6901).

    Raises:
        LookupError: there is nothing under it.
    """
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, Mapping):
            value = value[name]
        elif isinstance(value, list) and name.isascii() and name.isdecimal() and len(name) < 10:
            value = value[int(name)]
        else:
            raise LookupError(pointer)
    return value
