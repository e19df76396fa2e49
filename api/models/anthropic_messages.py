"""Anthropic's Messages API. Its `input_tokens` leave out what the cache served; ours include it.

`api.models.anthropic_body` says what is asked.
"""

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from api.models import failures
from api.models.anthropic_body import make_body
from api.models.base import (
    Finished,
    FinishReason,
    ModelError,
    ModelErrorCode,
    ModelRequest,
    ModelUsage,
    ReasoningDelta,
    StreamItem,
    TextDelta,
)
from api.models.limits import AdapterItem, CallLimits, CallPiece, limited
from api.models.schemas import RefusedSchemas
from api.models.shapes import count_in, model_named, text_in
from api.models.tool_calls import CallCollector

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

_STOP_REASONS = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "tool_use": FinishReason.TOOL_CALLS,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "refusal": FinishReason.FILTER,
}

_ABOUT_SCHEMA = re.compile(r"schema|grammar|output_config\.format|output format", re.IGNORECASE)


class AnthropicClient:
    """Anthropic, or a server that speaks its Messages API."""

    provider = "anthropic"

    def __init__(self, *, base_url: str, api_key: str, limits: CallLimits) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._limits = limits
        self._refused = RefusedSchemas()
        self._sdk: AsyncAnthropic | None = None
        self._sdk_lock = asyncio.Lock()

    def stream(self, request: ModelRequest) -> AsyncGenerator[StreamItem, None]:
        """See `ModelClient.stream`."""
        return limited(self._attempt, request, provider=self.provider, limits=self._limits)

    async def close(self) -> None:
        """Release the connections."""
        if self._sdk is not None:
            await self._sdk.close()

    async def _attempt(self, request: ModelRequest) -> AsyncGenerator[AdapterItem, None]:
        sdk = await self._connected_sdk()
        import anthropic
        import httpx2

        counted: dict[str, int] = {}
        calls = CallCollector()
        model = request.model
        stream: Any = None
        try:
            stream = await self._begin(sdk, request)
            async for event in stream:
                kind = text_in(event, "type")
                if kind == "message_start":
                    message = getattr(event, "message", None)
                    model = model_named(message) or model
                    _count(getattr(message, "usage", None), counted)
                elif kind in ("content_block_start", "content_block_delta"):
                    if (item := _content(event, calls)) is not None:
                        yield item
                elif kind == "message_delta":
                    _count(getattr(event, "usage", None), counted)
                    if reason := text_in(getattr(event, "delta", None), "stop_reason"):
                        yield self._finished(reason, calls, counted, model)
                if calls.is_too_long:
                    yield self._finished("max_tokens", calls, counted, model)
                    return
                yield _usage(counted)
        except anthropic.APIStatusError as error:
            # An error told inside the stream comes with the stream's own status, 200.
            in_stream = error.status_code < 400
            raise failures.from_answer(
                provider=self.provider,
                status=None if in_stream else error.status_code,
                body=error.body,
                headers=error.response.headers,
                usage=_usage(counted),
            ) from error
        except (anthropic.APIConnectionError, httpx2.TransportError) as error:
            # Unlike a request that fails, a stream that breaks is not wrapped by the SDK.
            cause = error if isinstance(error, httpx2.TransportError) else error.__cause__
            raise failures.from_connection(
                provider=self.provider,
                never_sent=isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout),
                timed_out=isinstance(cause, httpx2.TimeoutException),
                usage=_usage(counted),
            ) from error
        except ValueError as error:
            # The SDK decodes every line of the stream as JSON.
            message = "The provider sent something that is not an answer."
            raise ModelError(
                ModelErrorCode.STREAM_BROKEN, message, provider=self.provider, usage=_usage(counted)
            ) from error
        finally:
            if stream is not None:
                await stream.close()

    async def _begin(self, sdk: "AsyncAnthropic", request: ModelRequest) -> Any:
        """Send the request; once more in other words when the schema of the answer is refused."""
        import anthropic

        body = make_body(request, takes_schema=request not in self._refused)
        try:
            return await sdk.messages.create(**body)
        except anthropic.BadRequestError as error:
            has_format = "format" in body.get("output_config", {})
            if not has_format or not _ABOUT_SCHEMA.search(str(error)):
                raise
        self._refused.add(request)
        return await sdk.messages.create(**make_body(request, takes_schema=False))

    def _finished(self, reason: str, calls: CallCollector, counted: dict[str, int], model: str) -> Finished:
        finish_reason, asked = calls.ending(_STOP_REASONS.get(reason, FinishReason.OTHER))
        return Finished(
            usage=_usage(counted),
            finish_reason=finish_reason,
            model=model,
            provider=self.provider,
            tool_calls=asked,
        )

    async def _connected_sdk(self) -> "AsyncAnthropic":
        async with self._sdk_lock:
            if self._sdk is None:
                # The import takes more than a second, which the event loop must not stand still for.
                self._sdk = await asyncio.to_thread(self._make_sdk)
            return self._sdk

    def _make_sdk(self) -> "AsyncAnthropic":
        try:
            import anthropic
        except ImportError as error:
            message = (
                "The package `anthropic` is not installed; `pip install turnledger[anthropic]` brings it."
            )
            raise ModelError(ModelErrorCode.NOT_CONFIGURED, message, provider=self.provider) from error

        return anthropic.AsyncAnthropic(
            api_key=self._api_key,
            base_url=self._base_url,
            timeout=anthropic.Timeout(self._limits.call_seconds, connect=self._limits.connect_seconds),
            max_retries=0,  # `limited` repeats requests, and knows which may have been paid for
        )


def _content(event: Any, calls: CallCollector) -> AdapterItem:
    """What a block of the answer begins with or goes on with; None where it is nothing to tell of."""
    index = count_in(event, "index")
    block, delta = getattr(event, "content_block", None), getattr(event, "delta", None)
    if index is not None and text_in(block, "type") == "tool_use":
        calls.begin(index=index, call_id=text_in(block, "id"), name=text_in(block, "name"))
        return CallPiece()
    kind = text_in(delta, "type")
    if index is not None and kind == "input_json_delta":
        calls.add_arguments(index, text_in(delta, "partial_json") or "")
        return CallPiece()
    if kind == "text_delta" and (text := text_in(delta, "text")):
        return TextDelta(text)
    if kind == "thinking_delta" and (text := text_in(delta, "thinking")):
        return ReasoningDelta(text)
    return None


_COUNTERS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")


def _count(usage: Any, counted: dict[str, int]) -> None:
    """Take over the counters that are there; they are cumulative, so the newest word counts."""
    for name in _COUNTERS:
        if (count := count_in(usage, name)) is not None:
            counted[name] = count
    thinking = count_in(getattr(usage, "output_tokens_details", None), "thinking_tokens")
    if thinking is not None:
        counted["thinking_tokens"] = thinking


def _usage(counted: dict[str, int]) -> ModelUsage | None:
    """None before the provider counted anything."""
    if not counted:
        return None
    cached_tokens = counted.get("cache_read_input_tokens", 0)
    cache_write_tokens = counted.get("cache_creation_input_tokens", 0)
    output_tokens = counted.get("output_tokens", 0)
    return ModelUsage(
        input_tokens=counted.get("input_tokens", 0) + cached_tokens + cache_write_tokens,
        cached_tokens=cached_tokens,
        cache_write_tokens=cache_write_tokens,
        output_tokens=output_tokens,
        reasoning_tokens=min(counted.get("thinking_tokens", 0), output_tokens),
    )
