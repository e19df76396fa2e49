"""What a call says in its header fields about how it wants to be handled and answered.

What only expresses a wish (`Prefer`, `Accept`) is ignored when it cannot be read; what changes the meaning
of a call (`Idempotency-Key`, `Turnledger-On-Behalf-Of`) is refused.
"""

import contextlib
import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from api.routes.errors import MalformedIdempotencyKey, MalformedOnBehalfOf

EVENT_STREAM = "text/event-stream"

_LINE_CHARACTERS_MAX = 1000
"""A longer `Prefer` is not read: quotes that never close make the reading quadratic."""

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_WORD = rf'{_NAME}|"(?:[^"\\]|\\.)*"'
_PREFERENCE = re.compile(rf"[ \t]*(?P<name>{_NAME})(?:[ \t]*=[ \t]*(?P<value>{_WORD}))?")
_REST = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")*')
_IDEMPOTENCY_KEY = re.compile(r"[\x20-\x7e]{1,255}")
_WAIT = re.compile(r"[0-9]{1,9}")
_QUALITY = re.compile(r"[01](?:\.[0-9]{0,3})?")


class Preferences(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller would like (RFC 7240); None where it did not say."""

    respond_async: bool = False
    wait_seconds: int | None = None
    """As asked; `waits_seconds` knows the limit."""
    returns: Literal["representation", "minimal"] | None = None

    def waits_seconds(self, *, default_seconds: int, max_seconds: int) -> int:
        """How long to wait for an answer before saying that it is under way."""
        if self.wait_seconds is not None:
            return min(self.wait_seconds, max_seconds)
        return 0 if self.respond_async else default_seconds

    @property
    def wants_representation(self) -> bool:
        """The whole document is wanted instead of what has changed."""
        return self.returns == "representation"


def parse_prefer(values: Sequence[str]) -> Preferences:
    """Read the lines of `Prefer`. Of a preference given twice the first counts (RFC 7240 2)."""
    found: dict[str, str] = {}
    for line in values:
        at = len(line) if len(line) > _LINE_CHARACTERS_MAX else 0
        while at < len(line):
            preference = _PREFERENCE.match(line, at)
            if preference:
                found.setdefault(preference["name"].lower(), (preference["value"] or "").strip('"'))
                at = preference.end()
            # Parameters of the preference, or what cannot be read, up to the next comma.
            rest = _REST.match(line, at)
            at = (rest.end() if rest else at) + 1
    wait = found.get("wait", "")
    returns = found.get("return", "").lower()
    return Preferences(
        respond_async="respond-async" in found,
        wait_seconds=int(wait) if _WAIT.fullmatch(wait) else None,
        returns="representation"
        if returns == "representation"
        else "minimal"
        if returns == "minimal"
        else None,
    )


def write_applied(
    *, respond_async: bool = False, wait_seconds: int | None = None, returns: str | None = None
) -> dict[str, str]:
    """Make the header that says which preferences were honoured (RFC 7240 3); empty when none was."""
    parts = []
    if respond_async:
        parts.append("respond-async")
    if wait_seconds is not None:
        parts.append(f"wait={wait_seconds}")
    if returns is not None:
        parts.append(f"return={returns}")
    return {"Preference-Applied": ", ".join(parts)} if parts else {}


def choose_media_type(accept: str | None, offered: Sequence[str]) -> str:
    """Choose what the caller likes best of what is `offered`; the first when it likes none or does not say.

    A caller that accepts nothing of it gets the first all the same (RFC 9110 12.5.1 allows that): an answer
    in another form is worth more than none.
    """
    ranges = _parse_accept(accept or "*/*")
    return max(offered, key=lambda media_type: _quality(media_type, ranges))


def parse_idempotency_key(values: Sequence[str]) -> str | None:
    """Read `Idempotency-Key`; None when the call has none.

    Raises:
        MalformedIdempotencyKey: not 1 to 255 printable ASCII characters, or given twice.
    """
    if not values:
        return None
    if len(values) > 1 or not _IDEMPOTENCY_KEY.fullmatch(values[0]):
        raise MalformedIdempotencyKey
    return values[0]


def parse_on_behalf_of(values: Sequence[str]) -> str | None:
    """Read whom the caller says it acts for; None when it does not say.

    Header fields come as latin-1; what is UTF-8 underneath is read as that.

    Raises:
        MalformedOnBehalfOf: empty, more than 255 characters, with control characters, or given twice.
    """
    if not values:
        return None
    text = values[0]
    with contextlib.suppress(UnicodeError):  # it is latin-1, or was decoded before, and stays so
        text = text.encode("latin-1").decode("utf-8")
    if len(values) > 1 or not 1 <= len(text) <= 255 or not text.isprintable():
        raise MalformedOnBehalfOf
    return text


def parse_bearer(authorization: str | None) -> str | None:
    """Read the key from `Authorization: Bearer <key>`; None when there is no such thing (RFC 6750 2.1)."""
    scheme, _, key = (authorization or "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def _parse_accept(accept: str) -> list[tuple[str, float]]:
    ranges = []
    for part in accept.split(","):
        media_range, *parameters = (piece.strip() for piece in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip().lower() == "q" and _QUALITY.fullmatch(value.strip()):
                quality = min(float(value), 1.0)
        ranges.append((media_range.lower(), quality))
    return ranges


def _quality(media_type: str, ranges: list[tuple[str, float]]) -> float:
    """The most specific range that covers a media type says how much it is liked (RFC 9110 12.5.1)."""
    for wanted in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        qualities = [quality for media_range, quality in ranges if media_range == wanted]
        if qualities:
            return max(qualities)
    return 0.0
