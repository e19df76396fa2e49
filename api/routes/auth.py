"""Who calls: the API key of a request, looked up in the store and remembered for a few seconds."""

import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TypeVar

from api.routes.errors import Unauthorized
from api.routes.negotiation import parse_bearer
from api.store import Caller
from api.store.base import utc_now
from api.store.keys import KEY_PREFIX, digest

_Value = TypeVar("_Value")

_KEY = re.compile(rf"{re.escape(KEY_PREFIX)}[\x21-\x7e]{{1,200}}")

_KNOWN_MAX = 10_000
_UNKNOWN_MAX = 1_000
_UNKNOWN_SECONDS_MAX = 1.0
"""A key may be made at any moment, so that nobody knows it is remembered for a shorter time."""


class KeyCache:
    """Remembers whose a key is, so that a call does not begin with a question to the database.

    A revoked key is accepted for at most `seconds` more, an expired one not at all. Keys are remembered by
    their digest, and those that nobody knows apart from the others, so that guessing pushes no good key out.
    """

    def __init__(
        self,
        look_up: Callable[[str], Awaitable[Caller | None]],
        *,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._look_up = look_up
        self._seconds = seconds
        self._clock = clock
        self._now = now
        self._used: dict[Caller, datetime] = {}
        self._known: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()
        self._unknown: OrderedDict[bytes, float] = OrderedDict()

    async def caller_of(self, secret: str) -> Caller | None:
        """Whose key this is; None when it is unknown, replaced, expired or revoked."""
        key, now, at = digest(secret), self._clock(), self._now()
        known = self._known.get(key)
        if known is not None and now < known[0] and not _has_expired(known[1], at):
            return self._note_use(known[1], at)
        if now < self._unknown.get(key, now):
            return None
        # What the database says counts from before it was asked: nothing is believed for longer than that.
        caller = await self._look_up(secret)
        if caller is None or _has_expired(caller, at):
            self._known.pop(key, None)
            _put(self._unknown, key, now + min(self._seconds, _UNKNOWN_SECONDS_MAX), size_max=_UNKNOWN_MAX)
            return None
        _put(self._known, key, (now + self._seconds, caller), size_max=_KNOWN_MAX)
        return self._note_use(caller, at)

    def take_uses(self) -> dict[Caller, datetime]:
        """Hand over who has called since this was last asked, and when last."""
        used, self._used = self._used, {}
        return used

    def give_back_uses(self, used: Mapping[Caller, datetime]) -> None:
        """Take back what could not be written, for the next time; what is newer stays."""
        self._used = {**used, **self._used} if len(self._used) + len(used) <= _KNOWN_MAX else self._used

    def _note_use(self, caller: Caller, at: datetime) -> Caller:
        if caller in self._used or len(self._used) < _KNOWN_MAX:
            self._used[caller] = at
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


def _has_expired(caller: Caller, at: datetime) -> bool:
    return caller.expires_at is not None and caller.expires_at <= at


def _put(cache: OrderedDict[bytes, _Value], digest: bytes, value: _Value, *, size_max: int) -> None:
    cache[digest] = value
    cache.move_to_end(digest)
    if len(cache) > size_max:
        cache.popitem(last=False)
