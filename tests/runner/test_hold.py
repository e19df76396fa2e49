"""Keeping a turn: a lease outlives a short outage of the database, and never our belief in it."""

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest

from api.events import Hub
from api.runner.hold import Hold, holding
from api.store.running import Claim

LEASE_SECONDS = 0.6


def claimed(*, seconds_ago: float = 0) -> Claim:
    """A claim that was asked for this long ago."""
    return Claim(
        organization_id=uuid4(),
        session_id=uuid4(),
        turn_id=uuid4(),
        run_id=uuid4(),
        attempt=1,
        epoch=1,
        asked_at_seconds=time.monotonic() - seconds_ago,
    )


class Database:
    """Answers heartbeats, except for a while."""

    def __init__(
        self, *, away_from: float, away_until: float, error: type[Exception] = ConnectionRefusedError
    ) -> None:
        loop = asyncio.get_running_loop()
        self._now = loop.time
        self._away_from, self._away_until = loop.time() + away_from, loop.time() + away_until
        self._error = error
        self.beats: list[float] = []
        self.is_back = asyncio.Event()

    async def heartbeat(self, claim: Claim, *, lease_seconds: float) -> bool:
        if self._away_from <= self._now() < self._away_until:
            raise self._error
        self.beats.append(self._now())
        await asyncio.sleep(0.01)  # the way to the database and back
        if self._now() >= self._away_until:
            self.is_back.set()
        return True


def kept(database: Any, claim: Claim) -> AbstractAsyncContextManager[Hold]:
    return holding(database, Hub(), claim, lease_seconds=LEASE_SECONDS, heartbeat_seconds=LEASE_SECONDS / 3)


async def held(database: Any) -> bool:
    """Whether a turn is still held when the database is back, at a lease of 0.6 s and a beat of 0.2 s."""
    async with kept(database, claimed()) as hold:
        waits = [asyncio.create_task(wait) for wait in (hold.lost.wait(), database.is_back.wait())]
        await asyncio.wait(waits, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()
        return not hold.lost.is_set()


@pytest.mark.parametrize("error", [ConnectionRefusedError, TimeoutError])
async def test_an_outage_shorter_than_the_lease_loses_no_turn(error: type[Exception]) -> None:
    assert await held(Database(away_from=0.02, away_until=0.5, error=error))


async def test_an_outage_longer_than_the_lease_loses_the_turn() -> None:
    assert not await held(Database(away_from=0, away_until=5))


async def test_a_lease_is_renewed_at_every_third_of_it() -> None:
    database = Database(away_from=0, away_until=0)
    began = asyncio.get_running_loop().time()

    async with kept(database, claimed()) as hold, asyncio.timeout(10):
        while len(database.beats) < 3:
            await asyncio.sleep(0.01)
        is_lost = hold.lost.is_set()

    gaps = [later - earlier for earlier, later in pairwise([began, *database.beats])]
    assert not is_lost
    assert all(LEASE_SECONDS / 3 <= gap < LEASE_SECONDS for gap in gaps)


async def test_a_run_that_cannot_renew_stops_before_the_lease_of_its_claim_ends() -> None:
    claim = claimed(seconds_ago=LEASE_SECONDS / 2)

    async with kept(Database(away_from=0, away_until=60), claim) as hold, asyncio.timeout(10):
        await hold.lost.wait()
        seconds = time.monotonic() - claim.asked_at_seconds

    # The database counts from when the claim arrived there, which is later than when it was asked for.
    assert seconds < LEASE_SECONDS * 1.4


async def test_a_lease_that_ended_before_the_work_began_is_lost_at_once() -> None:
    async with kept(Database(away_from=0, away_until=0), claimed(seconds_ago=60)) as hold:
        async with asyncio.timeout(10):
            await hold.lost.wait()
