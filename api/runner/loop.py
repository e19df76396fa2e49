"""The runner's loop: claim a turn while there is a free place, carry it out, wait for the next.

It wakes when this process commits something claimable and looks at an interval besides, so that turns made
by other processes, and turns whose lease ran out, are found as well.
"""

import asyncio
from types import TracebackType
from typing import Self

import msgspec
from loguru import logger

from api.events import ANY_RUNNER, Hub
from api.models.registry import Models
from api.runner.delta_log import DeltaLog
from api.runner.leaks import settle_leaked_forever
from api.runner.limits import TurnLimits
from api.runner.tools.base import NO_TOOLS, Toolbox
from api.runner.turn import TurnRunner
from api.session import ids
from api.stopping import stopped
from api.store import Store
from api.store.running import TURNS_UNLIMITED, Claim, turn_id_of

LET_GO_SECONDS_MAX = 5
"""How long a process that stops waits for a claim, or for handing a turn back. When the database does not
answer by then, the lease runs out instead.
"""


class RunnerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What this process takes on, and how long it waits for what."""

    turns_max: int = 8
    """Turns that run in this process at once; 0 runs none."""
    organization_turns_max: int = TURNS_UNLIMITED
    """Turns of one organization that run in all processes at once; a claim counts what it can see, so there
    may be one more for each process."""
    poll_seconds: float = 0.5
    flush_seconds: float = 0.15
    shutdown_grace_seconds: float = 10
    """How long running turns may take to finish once the process is to stop; then they are handed back."""
    leak_seconds: float = 60
    """How long a call may stay open after its run has ended, before it is settled as lost."""
    turn: TurnLimits = TurnLimits()


class Runner:
    """Runs turns from entering the block to leaving it."""

    def __init__(
        self,
        store: Store,
        models: Models,
        hub: Hub,
        *,
        name: str,
        limits: RunnerLimits,
        toolbox: Toolbox = NO_TOOLS,
    ) -> None:
        self._store = store
        self._hub = hub
        self._name = name
        self._limits = limits
        self._deltas = DeltaLog(store.running, flush_seconds=limits.flush_seconds)
        self._turns = TurnRunner(store, models, toolbox, hub, self._deltas, limits.turn)
        self._running: set[asyncio.Task[None]] = set()
        self._own: list[asyncio.Task[None]] = []
        self._places = asyncio.Semaphore(limits.turns_max)

    async def __aenter__(self) -> Self:
        if self._limits.turns_max > 0:
            self._own = [
                asyncio.create_task(self._loop()),
                asyncio.create_task(self._deltas.keep()),
                asyncio.create_task(
                    settle_leaked_forever(
                        self._store.running,
                        every_seconds=self._limits.leak_seconds / 2,
                        older_than_seconds=self._limits.leak_seconds,
                    )
                ),
            ]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._own:
            return
        loop_task, *keepers = self._own
        loop_task.cancel()
        await asyncio.gather(loop_task, return_exceptions=True)
        if self._running:
            await asyncio.wait(self._running, timeout=self._limits.shutdown_grace_seconds)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await stopped(*keepers)

    async def _loop(self) -> None:
        with self._hub.listening(ANY_RUNNER) as listener:
            while True:
                await self._places.acquire()
                claiming = asyncio.create_task(self._claim())
                try:
                    claim = await asyncio.shield(claiming)
                except asyncio.CancelledError:
                    # A claim under way commits all the same; kept, the turn would wait out the lease.
                    await asyncio.wait({claiming}, timeout=LET_GO_SECONDS_MAX)
                    if not claiming.done():
                        claiming.cancel()
                    elif (claim := claiming.result()) is not None:
                        await self._hand_back(claim)
                    raise
                if claim is None:
                    self._places.release()
                    await listener.wait(seconds_max=self._limits.poll_seconds)
                    continue
                task = asyncio.create_task(self._run(claim))
                self._running.add(task)
                task.add_done_callback(self._ended)

    async def _claim(self) -> Claim | None:
        try:
            return await self._store.running.claim(
                runner=self._name,
                lease_seconds=self._limits.turn.lease_seconds,
                organization_turns_max=self._limits.organization_turns_max,
            )
        except Exception as error:
            logger.warning("no turn could be claimed", error=repr(error))
            await asyncio.sleep(self._limits.poll_seconds)
            return None

    async def _run(self, claim: Claim) -> None:
        named = {
            "session_id": ids.to_wire(ids.Kind.SESSION, claim.session_id),
            "turn_id": turn_id_of(claim),
            "run_id": ids.to_wire(ids.Kind.RUN, claim.run_id),
            "attempt": claim.attempt,
        }
        with logger.contextualize(**named):
            await self._run_named(claim)

    async def _run_named(self, claim: Claim) -> None:
        try:
            await self._turns.run(claim)
        except asyncio.CancelledError:
            await self._hand_back(claim)
            raise
        except Exception:  # the edge of the loop: the lease runs out and the turn is taken up again
            logger.opt(exception=True).error("turn broke off")

    async def _hand_back(self, claim: Claim) -> None:
        try:
            async with asyncio.timeout(LET_GO_SECONDS_MAX):
                await self._store.running.release(claim)
        except Exception as error:
            run_id = ids.to_wire(ids.Kind.RUN, claim.run_id)
            logger.warning("turn not handed back", run_id=run_id, error=repr(error))

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        self._places.release()
