"""Calls that nobody will end: their process died after the turn was taken from them.

A turn that is still pending is taken up by another run, which settles what it finds open. A turn that was
cancelled meanwhile is never claimed again, so its open calls are settled here, as lost. Should the process
live after all and tell its figures, they become a correction.
"""

import asyncio
from uuid import UUID

import msgspec
from loguru import logger

from api.prompt.progress import UNKNOWN_CONTENT, ToolAnswer, ToolEnd
from api.runner import settling
from api.store.running import Claim, Running

_BATCH = 100


async def end_lost(running: Running, claim: Claim, step_id: UUID, *, kind: str, model: str | None) -> None:
    """End a call whose process is gone: nobody knows what came of it."""
    if kind == "tool":
        unknown = msgspec.to_builtins(ToolAnswer(end=ToolEnd.UNKNOWN, content=UNKNOWN_CONTENT))
        await running.end_tool_step(claim, step_id, "failed", unknown)
    else:
        await running.settle(claim, step_id, settling.lost(model=model or "", latency_ms=0))


async def settle_leaked_forever(running: Running, *, every_seconds: float, older_than_seconds: float) -> None:
    """Settle leaked calls now and then, until cancelled."""
    while True:
        await asyncio.sleep(every_seconds)
        try:
            await settle_leaked(running, older_than_seconds=older_than_seconds)
        except Exception as error:
            # The edge of the loop: the database may be away; the next look finds the same calls.
            logger.warning("leaked calls not settled", error=repr(error))


async def settle_leaked(running: Running, *, older_than_seconds: float) -> int:
    """Settle the calls whose runs ended at least this long ago; answers how many."""
    count = 0
    while leaked := await running.leaked(older_than_seconds=older_than_seconds, limit=_BATCH):
        for leak in leaked:
            await end_lost(running, leak.claim, leak.step_id, kind=leak.kind, model=leak.model)
        count += len(leaked)
    if count:
        logger.warning("calls settled as lost", count=count)
    return count
