"""Spares a provider that is down, and those who wait for it: after failures in a row it is left alone.

    closed     calls go through; failures in a row are counted
    open       nobody calls; whoever would is told at once
    half open  the time has passed: one call tries, and its outcome closes or opens the circuit again

What counts is that the provider could not be reached, did not answer in time or could not serve. A request
that it understood and refused says that it is there.
"""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec

from api.models.base import ModelClient, ModelError, ModelErrorCode, ModelRequest, StreamItem

_FAILURES = frozenset(
    {ModelErrorCode.PROVIDER_UNAVAILABLE, ModelErrorCode.TIMEOUT, ModelErrorCode.STREAM_BROKEN}
)


class BreakerLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a circuit opens, and for how long."""

    failures_max: int = 5
    """Failures in a row that open it; 0 never does."""
    open_seconds: float = 15


class GuardedClient:
    """A client behind a circuit of its own."""

    def __init__(
        self, client: ModelClient, limits: BreakerLimits, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._limits = limits
        self._clock = clock
        self._failure_count = 0
        self._opens_at = 0.0
        """When the next call may try; says something only while the circuit is open."""

    @property
    def provider(self) -> str:
        """The guarded client's provider."""
        return self._client.provider

    def admit(self) -> None:
        """Let a call go ahead, or say at once that it would fail.

        Raises:
            ModelError: `circuit_open`, with the wait until the next try.
        """
        if not 0 < self._limits.failures_max <= self._failure_count:
            return
        wait_seconds = self._opens_at - self._clock()
        if wait_seconds > 0:
            message = f"{self.provider!r} failed {self._failure_count} times in a row and is not called now."
            raise ModelError(
                ModelErrorCode.CIRCUIT_OPEN,
                message,
                provider=self.provider,
                retry_after_seconds=wait_seconds,
            )
        # This one tries; those who come while it does wait for its outcome.
        self._opens_at = self._clock() + self._limits.open_seconds

    async def stream(self, request: ModelRequest) -> AsyncGenerator[StreamItem, None]:
        """Call the provider, and note how it went. A call that is broken off by its caller says nothing."""
        try:
            async with aclosing(self._client.stream(request)) as stream:
                async for item in stream:
                    yield item
        except ModelError as error:
            if error.code in _FAILURES:
                self._failure_count += 1
                self._opens_at = self._clock() + self._limits.open_seconds
            else:
                self._failure_count = 0
            raise
        self._failure_count = 0

    async def close(self) -> None:
        """Close the guarded client."""
        await self._client.close()
