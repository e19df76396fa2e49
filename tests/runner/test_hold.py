"""Keeping a turn: a lease outlives a short outage of the database, and never our belief in it."""

import asyncio
from typing import Any
from uuid import uuid4

from api.events import Hub
from api.runner.hold import holding
from api.store.running import Claim

CLAIM = Claim(
    organization_id=uuid4(), session_id=uuid4(), turn_id=uuid4(), run_id=uuid4(), attempt=1, epoch=1
)


class Database:
    """Answers heartbeats, except for a while."""

    def __init__(self, *, away_from: float, away_until: float) -> None:
        loop = asyncio.get_running_loop()
        self._now = loop.time
        self._away_from, self._away_until = loop.time() + away_from, loop.time() + away_until
        self.is_back = asyncio.Event()

    async def heartbeat(self, claim: Claim, *, lease_seconds: float) -> bool:
        if self._away_from <= self._now() < self._away_until:
            raise ConnectionRefusedError
        await asyncio.sleep(0.01)  # the way to the database and back
        if self._now() >= self._away_until:
            self.is_back.set()
        return True


async def held(database: Any) -> bool:
    """Whether a turn is still held when the database is back, at a lease of 0.6 s and a beat of 0.2 s."""
    async with holding(database, Hub(), CLAIM, lease_seconds=0.6, heartbeat_seconds=0.2) as hold:
        waits = [asyncio.create_task(wait) for wait in (hold.lost.wait(), database.is_back.wait())]
        await asyncio.wait(waits, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()
        return not hold.lost.is_set()


async def test_an_outage_shorter_than_the_lease_loses_no_turn() -> None:
    assert await held(Database(away_from=0.02, away_until=0.5))


async def test_an_outage_longer_than_the_lease_loses_the_turn() -> None:
    assert not await held(Database(away_from=0, away_until=5))
