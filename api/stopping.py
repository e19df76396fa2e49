"""How tasks that work until they are told to stop are brought to their end."""

import asyncio

_AGAIN_SECONDS = 2
"""How long a cancelled task may take to clear up before it is cancelled again."""


async def stopped(*tasks: "asyncio.Task[None]") -> None:
    """Cancel tasks and wait until they have ended, whatever they end with.

    One cancellation is not always enough: a connection that cannot be given back in time raises
    `TimeoutError` in its place, and a loop that goes on after every error goes on after this one.
    """
    going_on = set(tasks)
    while going_on:
        for task in going_on:
            task.cancel()
        _, going_on = await asyncio.wait(going_on, timeout=_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
