"""Callers that a provider sends away at the same moment do not come back at the same moment."""

import asyncio
from collections.abc import AsyncGenerator

from api.models.base import Finished, FinishReason, ModelError, ModelErrorCode, ModelRequest
from api.models.limits import AdapterItem, CallLimits, limited

_RETRY_AFTER_SECONDS = 0.4


async def waited() -> float:
    """Make a call that is sent away once; answers how long it waited."""
    loop = asyncio.get_running_loop()
    sent_at: list[float] = []

    async def attempt(request: ModelRequest) -> AsyncGenerator[AdapterItem, None]:
        sent_at.append(loop.time())
        if len(sent_at) == 1:
            raise ModelError(
                ModelErrorCode.RATE_LIMITED,
                "Not now.",
                provider="busy",
                retry_after_seconds=_RETRY_AFTER_SECONDS,
            )
        yield Finished(usage=None, finish_reason=FinishReason.STOP, model=request.model, provider="busy")

    async for _ in limited(attempt, ModelRequest(model="any"), provider="busy", limits=CallLimits()):
        pass
    return sent_at[1] - sent_at[0]


async def test_nobody_comes_back_early_nor_all_at_once() -> None:
    waits = await asyncio.gather(*(waited() for _ in range(40)))

    assert min(waits) >= _RETRY_AFTER_SECONDS
    assert max(waits) - min(waits) > _RETRY_AFTER_SECONDS / 10
