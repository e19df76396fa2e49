"""What every call over the network is held to: limits on each wait, and how often a request is sent.

An adapter turns one provider's stream into `AdapterItem`s; `limited` drives it. The adapter may yield
`Finished` early and again when it knows more (usage often follows the finish reason): the last one counts,
and once there is one, a stream that then breaks or falls silent has still said everything.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec

from api.models.base import (
    Finished,
    ModelError,
    ModelErrorCode,
    ModelRequest,
    ModelUsage,
    ReasoningDelta,
    StreamItem,
    TextDelta,
)
from api.models.text import StorableStream


class CallPiece(msgspec.Struct, frozen=True):
    """A piece of a tool call came: the answer has begun, though there is nothing to show of it yet."""


AdapterItem = TextDelta | ReasoningDelta | CallPiece | Finished | ModelUsage | None
"""Usage is what the provider has counted so far, which a later failure then tells. None is a sign of life
without text: the model reasons in silence, or the provider keeps the line open."""

Attempt = Callable[[ModelRequest], AsyncGenerator[AdapterItem, None]]
"""Sends the request once."""

_BACKOFF_SECONDS = 0.5
_BACKOFF_SECONDS_MAX = 8.0
_RETRY_AFTER_FACTOR_MAX = 1.25


class CallLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a call may wait, and for what."""

    connect_seconds: float = 10.0
    call_seconds: float = 120.0
    """The whole call: every attempt, every wait between them, the whole stream."""
    first_text_seconds: float = 120.0
    """From sending the request to the first text or tool call, with no sign of life between: reasoning
    models are silent for long."""
    stall_seconds: float = 60.0
    """Between two signs of life once the text or a tool call has begun."""
    attempts_max: int = 3
    """How often a request is sent when the provider refuses it for now; 1 never repeats it."""


async def limited(
    attempt: Attempt, request: ModelRequest, *, provider: str, limits: CallLimits
) -> AsyncGenerator[StreamItem, None]:
    """Run a call within its limits.

    A refused request is sent again, after the wait that the provider asked for, as long as nothing has
    been said and the wait ends within the call's limit. A call that may have been paid for is never repeated.

    Raises:
        ModelError: `timeout` when a limit passed, `stream_broken` when the stream ended without its end,
            else as the adapter raised it.
    """
    call_seconds = min(limits.call_seconds, request.timeout_seconds or limits.call_seconds)
    deadline = asyncio.get_running_loop().time() + call_seconds
    for attempt_number in range(1, limits.attempts_max + 1):
        has_spoken = False
        try:
            async with aclosing(
                _one_attempt(attempt(request), deadline=deadline, provider=provider, limits=limits)
            ) as stream:
                async for item in stream:
                    has_spoken = True
                    if not isinstance(item, CallPiece):
                        yield item
        except ModelError as error:
            wait_seconds = _wait_seconds(error, attempt_number)
            ends_in_time = asyncio.get_running_loop().time() + wait_seconds < deadline
            may_repeat = error.is_retryable and not has_spoken and attempt_number < limits.attempts_max
            if not (may_repeat and ends_in_time):
                raise
            await asyncio.sleep(wait_seconds)
        else:
            return


async def _one_attempt(
    source: AsyncGenerator[AdapterItem, None], *, deadline: float, provider: str, limits: CallLimits
) -> AsyncGenerator[StreamItem | CallPiece, None]:
    loop = asyncio.get_running_loop()
    finished: Finished | None = None
    usage: ModelUsage | None = None
    spoken, thought = StorableStream(), StorableStream()
    wait_seconds = limits.first_text_seconds
    async with aclosing(source):
        while True:
            wait_ends_at = loop.time() + wait_seconds
            try:
                # The limit is around this one wait and never around a `yield`, where it would
                # interrupt whatever the caller is doing with the text.
                async with asyncio.timeout_at(min(deadline, wait_ends_at)):
                    item = await anext(source)
            except StopAsyncIteration:
                break
            except TimeoutError:
                if finished is not None:
                    break
                message = (
                    "The call took longer than its limit."
                    if deadline <= wait_ends_at
                    else f"The provider sent nothing for {wait_seconds:g} seconds."
                )
                raise ModelError(ModelErrorCode.TIMEOUT, message, provider=provider, usage=usage) from None
            except ModelError:
                if finished is not None:
                    break
                raise
            if isinstance(item, TextDelta):
                wait_seconds = limits.stall_seconds
                if text := spoken.feed(item.text):
                    yield TextDelta(text)
            elif isinstance(item, ReasoningDelta):
                if text := thought.feed(item.text):
                    yield ReasoningDelta(text)
            elif isinstance(item, CallPiece):
                wait_seconds = limits.stall_seconds
                yield item
            elif isinstance(item, Finished):
                finished = item
            elif item is not None:
                usage = item
    if rest := thought.end():
        yield ReasoningDelta(rest)
    if rest := spoken.end():
        yield TextDelta(rest)
    if finished is None:
        message = "The stream ended without a finish reason."
        raise ModelError(ModelErrorCode.STREAM_BROKEN, message, provider=provider, usage=usage)
    yield finished


def _wait_seconds(error: ModelError, attempt_number: int) -> float:
    """What the provider asked for and a little more, else a growing wait; with some chance, so that callers
    spread.
    """
    if error.retry_after_seconds is not None:
        # Everyone who was sent away at the same moment was told the same.
        return error.retry_after_seconds * random.uniform(1, _RETRY_AFTER_FACTOR_MAX)  # noqa: S311 -- as below
    longest = min(_BACKOFF_SECONDS_MAX, _BACKOFF_SECONDS * 2 ** (attempt_number - 1))
    return random.uniform(longest / 2, longest)  # noqa: S311 -- spreads load, keeps no secret
