"""Page tokens: where a list goes on. Opaque to callers, bound to the list that gave them out.

A token is not a secret and grants nothing: every query names the organization, whatever the token says. The
digest in it only tells a token of this list from one of another list, or from one that was cut or mistyped.
"""

import base64
import binascii
import hashlib
from uuid import UUID

from api.routes.errors import MalformedPageToken

LIMIT_DEFAULT = 50
LIMIT_MAX = 200

_FORM = b"\x01"
"""The first byte of a token: how the rest is to be read."""
_UUID, _INTEGER = b"u", b"i"
_DIGEST_BYTES = 8


def write_page_token(cursor: UUID | int, *, scope: str) -> str:
    """Write a token that goes on behind `cursor` in the list called `scope`.

    `scope` names the list with what narrows it (`sessions?state=open`), so that a token is not used with
    another filter.
    """
    if isinstance(cursor, UUID):
        payload = _FORM + _UUID + cursor.bytes
    else:
        payload = _FORM + _INTEGER + cursor.to_bytes(8, "big", signed=True)
    return base64.urlsafe_b64encode(payload + _digest(payload, scope)).decode().rstrip("=")


def read_uuid(token: str, *, scope: str) -> UUID:
    """Read the cursor of a list that is ordered by id.

    Raises:
        MalformedPageToken: this list gave out no such token.
    """
    return UUID(bytes=_read(token, scope, kind=_UUID, size=16))


def read_integer(token: str, *, scope: str) -> int:
    """Read the cursor of a list that is ordered by a number.

    Raises:
        MalformedPageToken: this list gave out no such token.
    """
    return int.from_bytes(_read(token, scope, kind=_INTEGER, size=8), "big", signed=True)


def _read(token: str, scope: str, *, kind: bytes, size: int) -> bytes:
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise MalformedPageToken from error
    payload, digest = raw[:-_DIGEST_BYTES], raw[-_DIGEST_BYTES:]
    if len(payload) != size + 2 or payload[:2] != _FORM + kind or digest != _digest(payload, scope):
        raise MalformedPageToken
    return payload[2:]


def _digest(payload: bytes, scope: str) -> bytes:
    return hashlib.sha256(scope.encode() + b"\x00" + payload).digest()[:_DIGEST_BYTES]
