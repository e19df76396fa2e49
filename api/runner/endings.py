"""Writing how a call has ended: past a database that is away, and a process that is told to stop."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar
from uuid import UUID

from loguru import logger

_Result = TypeVar("_Result")

CLOSE_SECONDS_MAX = 10
"""How long a call that was broken off may take to let go; then it is left to itself."""

_RETRY_SECONDS = 0.5


async def insist(write: Callable[[], Awaitable[_Result]], step_id: UUID, *, seconds_max: float) -> _Result:
    """Go on trying to write while the database does not answer: this is money, or cannot be done again."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds_max
    while True:
        try:
            return await write()
        except Exception as error:
            if loop.time() >= deadline:
                raise
            logger.warning("the end of a call is not written yet", step_id=str(step_id), error=repr(error))
            await asyncio.sleep(_RETRY_SECONDS)


async def to_its_end(work: Coroutine[None, None, _Result]) -> _Result:
    """Await `work`, also when we are cancelled meanwhile; the cancellation goes on when it is done."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if (error := task.exception()) is not None:
            logger.opt(exception=error).error("the end of a call was not written")
        raise


async def break_off(call: "asyncio.Task[object]") -> bool:
    """Cancel a call and wait for it to let go; False when it does not in time."""
    call.cancel()
    _, open_still = await asyncio.wait({call}, timeout=CLOSE_SECONDS_MAX)
    return not open_still
