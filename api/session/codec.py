"""Stored bytes and structs: headers and turns as JSON, each with the number of its format.

What this release writes it can read back unchanged; what an older one wrote is lifted format by format
when it is read; what a newer one wrote is not touched. Whatever is read is checked at once.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from api.session.document import FORMAT, Session, Turn
from api.session.errors import CorruptDocument, InvariantViolated
from api.session.invariants import check_session, check_turn

Upgrade = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes the plain JSON value of one format to that of the next; `format` itself is set by the codec."""

SESSION_UPGRADES: dict[int, Upgrade] = {}
"""By the format that an upgrade starts from. Format 1 is the first, so there is none yet."""

TURN_UPGRADES: dict[int, Upgrade] = {}
"""As SESSION_UPGRADES, for turns: a turn keeps the format in which it was written."""

Stored = TypeVar("Stored", Session, Turn)


class _Numbered(msgspec.Struct, frozen=True, kw_only=True):
    """The one field that every format has."""

    format: int


_NUMBERED = msgspec.json.Decoder(_Numbered)
_SESSION = msgspec.json.Decoder(Session)
_TURN = msgspec.json.Decoder(Turn)


def encode_session(session: Session) -> bytes:
    """Write a header."""
    return msgspec.json.encode(session)


def encode_turn(turn: Turn) -> bytes:
    """Write a turn."""
    return msgspec.json.encode(turn)


def decode_session(stored: bytes | str) -> Session:
    """Read a header.

    Raises:
        CorruptDocument: these are not the bytes of a header that this release can read.
    """
    return _decode(stored, what="header", decoder=_SESSION, upgrades=SESSION_UPGRADES, check=check_session)


def decode_turn(stored: bytes | str) -> Turn:
    """Read a turn.

    Raises:
        CorruptDocument: these are not the bytes of a turn that this release can read.
    """
    return _decode(stored, what="turn", decoder=_TURN, upgrades=TURN_UPGRADES, check=check_turn)


def _decode(
    stored: bytes | str,
    *,
    what: str,
    decoder: "msgspec.json.Decoder[Stored]",
    upgrades: Mapping[int, Upgrade],
    check: Callable[[Stored], None],
) -> Stored:
    try:
        number = _NUMBERED.decode(stored).format
        if number != FORMAT:
            stored = _upgraded(stored, number=number, what=what, upgrades=upgrades)
        value = decoder.decode(stored)
        check(value)
    except (msgspec.MsgspecError, UnicodeError, InvariantViolated) as error:
        raise CorruptDocument(what=what, reason=str(error)) from error
    return value


def _upgraded(stored: bytes | str, *, number: int, what: str, upgrades: Mapping[int, Upgrade]) -> bytes:
    if number > FORMAT:
        raise CorruptDocument(
            what=what, reason=f"format {number} is newer than {FORMAT}, the newest known here"
        )
    value = msgspec.json.decode(stored)
    for older in range(number, FORMAT):
        if older not in upgrades:
            raise CorruptDocument(what=what, reason=f"nothing upgrades format {older}")
        value = upgrades[older](value) | {"format": older + 1}
    return msgspec.json.encode(value)
