"""Holding a turn: the lease is renewed while the turn runs, and the loss of it is noticed at once.

A run loses its turn when somebody cancels it, when another runner takes it over, or when it cannot renew
its lease in time. Whoever holds waits for `lost` beside the work.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from loguru import logger

from api.events import Hub, Listener
from api.stopping import stopped
from api.store.running import Claim, Running

_TRIES_PER_BEAT = 5
"""How often a renewal that failed is tried again in the time of one."""


class Hold:
    """One run's grip on its turn."""

    def __init__(self, *, expires_at: float) -> None:
        self.lost = asyncio.Event()
        """Set once the run has lost its turn; it may settle what it has spent, and nothing else."""
        self.expires_at = expires_at
        """By the monotonic clock, which goes on while the process is stopped. It counts from before the
        claim, or the renewal, was sent, so the lease never ends before we believe it does.
        """

    @property
    def is_firm(self) -> bool:
        """The turn is ours at this moment, so that something may be done that cannot be undone."""
        return not self.lost.is_set() and time.monotonic() < self.expires_at


@asynccontextmanager
async def holding(
    running: Running, hub: Hub, claim: Claim, *, lease_seconds: float, heartbeat_seconds: float
) -> AsyncIterator[Hold]:
    """Renew the lease until the block is left. A commit on the session makes us look at once."""
    hold = Hold(expires_at=claim.asked_at_seconds + lease_seconds)
    with hub.listening(claim.session_id) as listener:
        renewal = asyncio.create_task(
            _renew(
                running,
                claim,
                hold,
                listener,
                lease_seconds=lease_seconds,
                heartbeat_seconds=heartbeat_seconds,
            )
        )
        try:
            yield hold
        finally:
            await stopped(renewal)


async def _renew(
    running: Running,
    claim: Claim,
    hold: Hold,
    listener: Listener,
    *,
    lease_seconds: float,
    heartbeat_seconds: float,
) -> None:
    wait_seconds = heartbeat_seconds
    while not hold.lost.is_set():
        await listener.wait(seconds_max=min(wait_seconds, max(hold.expires_at - time.monotonic(), 0)))
        sent_at = time.monotonic()
        try:
            async with asyncio.timeout(hold.expires_at - sent_at) as limit:
                is_held = await running.heartbeat(claim, lease_seconds=lease_seconds)
        except Exception as error:
            logger.warning("lease not renewed", error=repr(error))
            if not limit.expired() and time.monotonic() < hold.expires_at:
                # The database may be back long before the next beat would be due, and the lease gone by then.
                wait_seconds = heartbeat_seconds / _TRIES_PER_BEAT
                continue
            is_held = False
        if not is_held:
            hold.lost.set()
        wait_seconds = heartbeat_seconds
        hold.expires_at = sent_at + lease_seconds
