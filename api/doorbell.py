"""The doorbell between processes: what one has committed, the others hear within milliseconds.

Notices are gathered for a moment and sent outside of every commit. All of it is a hint: whoever listens also
looks by the clock, so that a bell that nobody hears costs time and nothing else.
"""

import asyncio
from collections.abc import Iterator
from uuid import UUID

import asyncpg
from loguru import logger

from api.events import Hub, Notice
from db import doorbell

_GATHER_SECONDS = 0.01
"""Pause between two rings; what is told meanwhile goes with the next."""

_ALIVE_SECONDS = 10
"""Silence after which we ask whether the line is alive."""

_RETRY_SECONDS = 0.2
_RETRY_SECONDS_MAX = 5

_SESSIONS_MAX = 4_000
"""Sessions that are kept to be told of; when the line is dead for long, the rest must look by the clock."""

_DEAD = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)

_RUNNERS = "r"
"""Precedes the sessions when turns wait for a runner."""

_COMMIT = "c"
_DELTA = "d"
_WORD_CHARACTERS = 1 + 32


class Doorbell:
    """Carries what this process's hub tells to other processes, and what they tell to this hub."""

    def __init__(self, hub: Hub, dsn: str) -> None:
        self._hub = hub
        self._dsn = dsn
        self._waiting: dict[UUID, Notice] = {}
        self._due = asyncio.Event()

    async def keep(self) -> None:
        """Stay connected and carry notices, until cancelled."""
        self._hub.pass_on_to(self._take)
        retry_seconds: float = _RETRY_SECONDS
        try:
            while True:
                try:
                    async with doorbell.opened(self._dsn, hear=self._hear, cut=self._due.set) as line:
                        retry_seconds = _RETRY_SECONDS
                        self._hub.hears_others = True
                        # Nobody knows what was rung while we were away.
                        self._hub.wake_all()
                        await self._carry(line)
                except _DEAD as error:
                    logger.warning("doorbell not connected", error=repr(error))
                finally:
                    self._hub.hears_others = False
                await asyncio.sleep(retry_seconds)
                retry_seconds = min(retry_seconds * 2, _RETRY_SECONDS_MAX)
        finally:
            self._hub.pass_on_to(None)

    def _take(self, notice: Notice) -> None:
        """Keep a notice for the next ring; of a session there is one at most."""
        known = self._waiting.get(notice.session_id)
        if known is None and len(self._waiting) >= _SESSIONS_MAX:
            return
        self._waiting[notice.session_id] = Notice(
            session_id=notice.session_id,
            is_commit=notice.is_commit or (known is not None and known.is_commit),
            is_claimable=notice.is_claimable or (known is not None and known.is_claimable),
        )
        self._due.set()

    async def _carry(self, line: doorbell.Line) -> None:
        while True:
            payloads: list[str] = []
            try:
                async with asyncio.timeout(_ALIVE_SECONDS):
                    await self._due.wait()
            except TimeoutError:
                pass
            else:
                self._due.clear()
                notices, self._waiting = list(self._waiting.values()), {}
                payloads = list(written(notices))
            await line.ring(payloads)
            await asyncio.sleep(_GATHER_SECONDS)

    def _hear(self, payload: str) -> None:
        for notice in read(payload):
            self._hub.hear(notice)


def written(notices: list[Notice]) -> Iterator[str]:
    """Write notices as payloads, each within what Postgres takes."""
    flag = _RUNNERS if any(notice.is_claimable for notice in notices) else ""
    words = [f"{_COMMIT if notice.is_commit else _DELTA}{notice.session_id.hex}" for notice in notices]
    at_once = (doorbell.PAYLOAD_BYTES_MAX - 1) // _WORD_CHARACTERS
    for first in range(0, len(words), at_once):
        yield flag + "".join(words[first : first + at_once])


def read(payload: str) -> Iterator[Notice]:
    """Read the notices of a payload. What cannot be read, of another release perhaps, is left out."""
    is_claimable = payload.startswith(_RUNNERS)
    words = payload.removeprefix(_RUNNERS)
    for at in range(0, len(words), _WORD_CHARACTERS):
        word = words[at : at + _WORD_CHARACTERS]
        try:
            session_id = UUID(hex=word[1:])
        except ValueError:
            return
        # One sign is enough for the runners.
        yield Notice(
            session_id=session_id, is_commit=word[0] == _COMMIT, is_claimable=is_claimable and at == 0
        )
