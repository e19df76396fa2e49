"""Rate limits of API keys: requests and tokens a minute, event streams at once, over all processes.

A process takes requests from the minute in the database in lots of a fiftieth and lets that many through
without asking again, so that keys without a limit cost nothing and others little. A lot is taken before it is
used and ends with its minute, so all processes together let no more through in a minute than the limit says.
What a process does not use of its last lot is lost to the others: they may stop that much early.

Tokens are those of the ledger, which knows by whose key a turn was begun: what a call will use is not known
before, so the turns that are under way when the limit is reached are finished and may pass it.

Streams are held under the process's name for a time that it prolongs; those of a process that dies count for
that time still.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from uuid import UUID

from loguru import logger
from uuid_utils.compat import uuid7

from api.routes.errors import RateLimited
from api.store import Caller
from api.store.errors import OUTAGES
from api.store.key_limits import STREAM_SECONDS, KeyLimiting, bare

LOTS = 50
"""Into how many lots a minute's requests are split."""

REQUESTS, STREAMS, TOKENS = "requests", "streams", "tokens"
"""Names of the limits, in header fields and problems."""

_KEYS_MAX = 10_000
_PROLONG_SECONDS = STREAM_SECONDS / 3


class _Minute:
    """What this process knows of a key's current minute."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.left = 0
        self.granted = 0
        self.is_used_up = False
        self.ends_at = 0.0


class RateLimits:
    """One for a process."""

    def __init__(
        self,
        store: KeyLimiting,
        *,
        clock: Callable[[], float] = time.monotonic,
        new_id: Callable[[], UUID] = uuid7,
    ) -> None:
        self._store = store
        self._clock = clock
        self._holder = new_id()
        self._minutes: OrderedDict[str | None, _Minute] = OrderedDict()
        self._held: dict[Caller, int] = {}
        self._taking: dict[Caller, asyncio.Lock] = {}
        self._releasing: set[asyncio.Task[None]] = set()

    async def take_request(self, caller: Caller) -> dict[str, str]:
        """Count a call; answers the header fields that tell what is left.

        Raises:
            RateLimited: the key has used up its minute.
        """
        limit = caller.limits.requests_per_minute_max
        if limit is None:
            return {}
        minute = self._minute(caller)
        if self._needs_lot(minute):
            async with minute.lock:
                while self._needs_lot(minute):
                    await self._fetch_lot(caller, minute, limit)
        seconds = max(0, math.ceil(minute.ends_at - self._clock()))
        is_let_through = minute.left > 0
        minute.left -= is_let_through
        fields = {
            "RateLimit-Policy": f'"{REQUESTS}";q={limit};w=60',
            "RateLimit": f'"{REQUESTS}";r={max(0, limit - minute.granted) + minute.left};t={seconds}',
        }
        if not is_let_through:
            raise RateLimited(policy=REQUESTS, limit=limit, retry_seconds=max(1, seconds), fields=fields)
        return fields

    async def require_tokens(self, caller: Caller) -> None:
        """Look whether the key may begin a turn in this minute.

        Raises:
            RateLimited: its calls of models have used the minute's tokens.
        """
        limit = caller.limits.tokens_per_minute_max
        if limit is None:
            return
        used = await self._store.tokens_used(caller)
        if used.token_count >= limit:
            seconds = max(1, math.ceil(used.seconds_left))
            raise RateLimited(policy=TOKENS, limit=limit, retry_seconds=seconds, fields={})

    async def take_stream(self, caller: Caller) -> Callable[[], None]:
        """Count an event stream; answers what gives it back, once.

        Raises:
            RateLimited: the key has as many open as it may.
        """
        limit = caller.limits.streams_max
        if limit is None:
            return _nothing
        key = bare(caller)
        async with self._taking.setdefault(key, asyncio.Lock()):
            count = self._held.get(key, 0) + 1
            is_taken = await self._store.take_stream(key, holder=self._holder, count=count, count_max=limit)
            if not is_taken:
                raise RateLimited(policy=STREAMS, limit=limit, retry_seconds=1, fields={})
            self._held[key] = count
        is_held = True

        def give_back() -> None:
            nonlocal is_held
            if is_held:
                is_held = False
                task = asyncio.get_running_loop().create_task(self._give_back(key))
                self._releasing.add(task)
                task.add_done_callback(self._releasing.discard)

        return give_back

    async def prolong_forever(self) -> None:
        """Say now and then that this process still holds its streams, until cancelled."""
        while True:
            await asyncio.sleep(_PROLONG_SECONDS)
            try:
                await self._store.hold_streams(dict(self._held), holder=self._holder)
            except Exception:
                # The edge of the loop: the database may answer the next time.
                logger.exception("streams were not prolonged")

    async def settled(self) -> None:
        """Wait until all that was given back is written."""
        while self._releasing:
            await asyncio.wait(self._releasing)

    def _minute(self, caller: Caller) -> _Minute:
        key = caller.actor.key_id
        minute = self._minutes.setdefault(key, _Minute())
        self._minutes.move_to_end(key)
        if len(self._minutes) > _KEYS_MAX:
            self._minutes.popitem(last=False)
        return minute

    def _needs_lot(self, minute: _Minute) -> bool:
        return self._clock() >= minute.ends_at or (minute.left == 0 and not minute.is_used_up)

    async def _fetch_lot(self, caller: Caller, minute: _Minute, limit: int) -> None:
        # The minute is taken to end early by the time of the question, never late.
        asked_at = self._clock()
        lot = await self._store.grant(caller, count_wanted=math.ceil(limit / LOTS), count_max=limit)
        minute.left, minute.granted, minute.is_used_up = (
            lot.request_count,
            lot.granted,
            lot.request_count == 0,
        )
        minute.ends_at = asked_at + lot.seconds_left

    async def _give_back(self, key: Caller) -> None:
        async with self._taking.setdefault(key, asyncio.Lock()):
            self._held[key] -= 1
            try:
                await self._store.hold_streams({key: self._held[key]}, holder=self._holder)
            except tuple(OUTAGES) as error:
                # It is said again, or the row expires.
                logger.warning("a stream was not given back yet", error=repr(error))
            else:
                if self._held[key] == 0:
                    del self._held[key]


def _nothing() -> None:
    """Give nothing back."""
