"""Stores what models say while they say it: the first piece of a reply at once, later ones in batches.

One statement stores the pieces of all runs of this process. Text counts as shown once it is stored; a run
that has lost its turn stores nothing more.
"""

import asyncio
from contextlib import suppress
from uuid import UUID

from loguru import logger

from api.runner.hold import Hold
from api.store.running import Claim, Running, Shown


class DeltaLog:
    """The pieces of this process that are not stored yet."""

    def __init__(self, running: Running, *, flush_seconds: float) -> None:
        self._running = running
        self._flush_seconds = flush_seconds
        self._waiting: list[Shown] = []
        self._sending: list[Shown] = []
        self._holds: dict[UUID, Hold] = {}
        self._due = asyncio.Event()
        self._urgent = asyncio.Event()
        self._lock = asyncio.Lock()

    async def keep(self) -> None:
        """Flush whenever something is due; runs until it is cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            self._urgent.clear()
            try:
                await self.flush()
            except Exception as error:
                logger.warning("deltas not stored", error=repr(error))
                self._due.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._flush_seconds):
                    await self._urgent.wait()

    def add(self, claim: Claim, hold: Hold, step_id: UUID, *, offset: int, text: str) -> None:
        """Take a piece of a reply; `offset` counts the code points of the step before it."""
        self._holds[claim.run_id] = hold
        self._waiting.append(
            Shown(
                organization_id=claim.organization_id,
                session_id=claim.session_id,
                run_id=claim.run_id,
                step_id=step_id,
                offset=offset,
                text=text,
            )
        )
        self._due.set()
        if offset == 0:
            self._urgent.set()

    async def flush(self) -> None:
        """Store everything taken so far; runs that turn out to have lost their turns are told."""
        async with self._lock:
            while self._sending or self._waiting:
                # A batch whose fate is unknown is sent again as it was: rows that are there already stay.
                if not self._sending:
                    self._sending, self._waiting = _joined(self._waiting), []
                held = await self._running.show(self._sending)
                for run_id in {piece.run_id for piece in self._sending} - held:
                    if (hold := self._holds.get(run_id)) is not None:
                        hold.lost.set()
                self._sending = []

    def forget(self, claim: Claim) -> None:
        """The run has ended: drop what it has not stored."""
        self._holds.pop(claim.run_id, None)
        self._waiting = [piece for piece in self._waiting if piece.run_id != claim.run_id]


def _joined(pieces: list[Shown]) -> list[Shown]:
    """One row per step, however many pieces came since the last flush."""
    by_step: dict[UUID, list[Shown]] = {}
    for piece in pieces:
        by_step.setdefault(piece.step_id, []).append(piece)
    return [
        Shown(
            organization_id=of_step[0].organization_id,
            session_id=of_step[0].session_id,
            run_id=of_step[0].run_id,
            step_id=of_step[0].step_id,
            offset=of_step[0].offset,
            text="".join(piece.text for piece in of_step),
        )
        for of_step in by_step.values()
    ]
