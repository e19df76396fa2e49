"""A provider that is down is left alone for a while, and tried again."""

from collections.abc import AsyncGenerator

import pytest

from api.models.base import (
    Finished,
    FinishReason,
    ModelError,
    ModelErrorCode,
    ModelRequest,
    StreamItem,
    TextDelta,
)
from api.models.breaker import BreakerLimits, GuardedClient

_LIMITS = BreakerLimits(failures_max=3, open_seconds=10)


class Scripted:
    """A client whose next calls end as told."""

    provider = "scripted"

    def __init__(self, *outcomes: ModelErrorCode | None) -> None:
        self.outcomes = list(outcomes)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[StreamItem, None]:
        outcome = self.outcomes.pop(0)
        if outcome is not None:
            raise ModelError(outcome, "as told", provider=self.provider)
        yield TextDelta("Hi.")
        yield Finished(usage=None, finish_reason=FinishReason.STOP, model="m", provider=self.provider)

    async def close(self) -> None:
        return None


class Clock:
    """Time as the test wants it."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def call(client: GuardedClient) -> str:
    """Make a call as the runner does, and say how it went."""
    try:
        client.admit()
        async for _ in client.stream(ModelRequest(model="m")):
            pass
    except ModelError as error:
        return error.code.value
    return "ok"


async def test_failures_in_a_row_open_the_circuit_and_time_closes_it() -> None:
    clock = Clock()
    down = ModelErrorCode.PROVIDER_UNAVAILABLE
    guarded = GuardedClient(Scripted(down, down, down, None, None), _LIMITS, clock=clock)

    before = [await call(guarded) for _ in range(4)]
    clock.seconds = 10.0
    after = [await call(guarded) for _ in range(2)]

    assert before == ["provider_unavailable"] * 3 + ["circuit_open"]
    assert after == ["ok", "ok"]


async def test_while_one_call_tries_the_others_are_told_at_once() -> None:
    clock = Clock()
    guarded = GuardedClient(Scripted(*[ModelErrorCode.TIMEOUT] * 4), _LIMITS, clock=clock)
    for _ in range(3):
        await call(guarded)
    clock.seconds = 10.0

    guarded.admit()

    with pytest.raises(ModelError) as told:
        guarded.admit()
    assert told.value.code is ModelErrorCode.CIRCUIT_OPEN
    assert told.value.retry_after_seconds == 10.0


async def test_a_try_that_fails_opens_the_circuit_again() -> None:
    clock = Clock()
    guarded = GuardedClient(Scripted(*[ModelErrorCode.STREAM_BROKEN] * 4), _LIMITS, clock=clock)
    for _ in range(3):
        await call(guarded)
    clock.seconds = 10.0

    outcomes = [await call(guarded), await call(guarded)]

    assert outcomes == ["stream_broken", "circuit_open"]


async def test_a_provider_that_refuses_is_there() -> None:
    refused, down = ModelErrorCode.BAD_REQUEST, ModelErrorCode.PROVIDER_UNAVAILABLE
    guarded = GuardedClient(Scripted(down, down, refused, down, down, None), _LIMITS)

    outcomes = [await call(guarded) for _ in range(6)]

    assert outcomes[-1] == "ok"


async def test_without_a_limit_the_circuit_stays_closed() -> None:
    down = ModelErrorCode.PROVIDER_UNAVAILABLE
    guarded = GuardedClient(Scripted(*[down] * 20), BreakerLimits(failures_max=0))

    assert [await call(guarded) for _ in range(20)] == [down.value] * 20
