"""Who calls: the API key of a request, looked up in the store and remembered for a few seconds."""

import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TypeVar

from api.routes.errors import Unauthorized
from api.routes.negotiation import parse_bearer
from api.store import Caller
from api.store.access import KEY_PREFIX

_Value = TypeVar("_Value")

_KEY = re.compile(rf"{re.escape(KEY_PREFIX)}[\x21-\x7e]{{1,200}}")

_KNOWN_MAX = 10_000
_UNKNOWN_MAX = 1_000
_UNKNOWN_SECONDS_MAX = 1.0
"""A key may be made at any moment, so that nobody knows it is remembered for a shorter time."""


class KeyCache:
    """Remembers whose a key is, so that a call does not begin with a question to the database.

    A revoked key is accepted for at most `seconds` more. Keys are remembered by their digest, and those
    that nobody knows apart from the others, so that guessing pushes no good key out.
    """

    def __init__(
        self,
        look_up: Callable[[str], Awaitable[Caller | None]],
        *,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look_up = look_up
        self._seconds = seconds
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()
        self._unknown: OrderedDict[bytes, float] = OrderedDict()

    async def caller_of(self, secret: str) -> Caller | None:
        """Whose key this is; None when it is unknown or revoked."""
        digest, now = hashlib.sha256(secret.encode()).digest(), self._clock()
        known = self._known.get(digest)
        if known is not None and now < known[0]:
            return known[1]
        if now < self._unknown.get(digest, now):
            return None
        caller = await self._look_up(secret)
        if caller is None:
            self._known.pop(digest, None)
            _put(self._unknown, digest, now + min(self._seconds, _UNKNOWN_SECONDS_MAX), size_max=_UNKNOWN_MAX)
        else:
            _put(self._known, digest, (now + self._seconds, caller), size_max=_KNOWN_MAX)
        return caller


async def authenticate(authorization: str | None, keys: KeyCache) -> Caller:
    """Find the caller of a request by its `Authorization`.

    Raises:
        Unauthorized: no key, or one that is unknown or revoked.
    """
    secret = parse_bearer(authorization)
    if secret is None:
        raise Unauthorized(is_key_given=False)
    # What has not the form of a key is none; nobody needs to look.
    caller = await keys.caller_of(secret) if _KEY.fullmatch(secret) else None
    if caller is None:
        raise Unauthorized(is_key_given=True)
    return caller


def _put(cache: OrderedDict[bytes, _Value], digest: bytes, value: _Value, *, size_max: int) -> None:
    cache[digest] = value
    cache.move_to_end(digest)
    if len(cache) > size_max:
        cache.popitem(last=False)
