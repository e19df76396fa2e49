"""Chat completions as OpenAI defined them, spoken to OpenAI or to any server that says the same.

The stream is read tolerantly: usage may come after the finish reason, on the last text, or not at all;
chunks may have no choices; fields may be missing; an answer with calls may finish with any reason.
`api.models.openai_body` says what is asked, `api.models.tool_calls` how calls are put together.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from api.models import failures
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
from api.models.openai_body import make_body
from api.models.schemas import RefusedSchemas
from api.models.shapes import count_in, model_named, text_in
from api.models.tool_calls import CallCollector

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_FINISH_REASONS = {
    "stop": FinishReason.STOP,
    "tool_calls": FinishReason.TOOL_CALLS,
    "length": FinishReason.LENGTH,
    "content_filter": FinishReason.FILTER,
}


class OpenAICompatibleClient:
    """One server that speaks chat completions."""

    def __init__(
        self, *, provider: str, base_url: str, api_key: str, limits: CallLimits, is_openai: bool
    ) -> None:
        self.provider = provider
        self._base_url = base_url
        self._api_key = api_key
        self._limits = limits
        self._is_openai = is_openai
        self._refused = RefusedSchemas()
        self._sdk: AsyncOpenAI | None = None
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
        import httpx2
        import openai

        usage: ModelUsage | None = None
        finish_reason: FinishReason | None = None
        calls = CallCollector()
        model = request.model
        stream: Any = None
        try:
            stream = await self._begin(sdk, request)
            async for chunk in stream:
                usage = _usage(chunk) or usage
                model = model_named(chunk) or model
                choice = _first_choice(chunk)
                delta = getattr(choice, "delta", None)
                if thought := text_in(delta, "reasoning_content") or text_in(delta, "reasoning"):
                    yield ReasoningDelta(thought)
                if text := text_in(delta, "content") or text_in(delta, "refusal"):
                    yield TextDelta(text)
                if calls.feed(getattr(delta, "tool_calls", None)):
                    yield CallPiece()
                if (reason := text_in(choice, "finish_reason")) is not None:
                    finish_reason = _FINISH_REASONS.get(reason, FinishReason.OTHER)
                if finish_reason is None and not calls.is_too_long:
                    yield usage
                    continue
                ending, asked = calls.ending(finish_reason or FinishReason.LENGTH)
                yield Finished(
                    usage=usage, finish_reason=ending, model=model, provider=self.provider, tool_calls=asked
                )
                if calls.is_too_long:
                    return
        except openai.APIStatusError as error:
            raise failures.from_answer(
                provider=self.provider,
                status=error.status_code,
                body=error.body,
                headers=error.response.headers,
                usage=usage,
            ) from error
        except openai.APIConnectionError as error:
            never_sent = isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout)
            raise failures.from_connection(
                provider=self.provider,
                never_sent=never_sent,
                timed_out=isinstance(error, openai.APITimeoutError),
                usage=usage,
            ) from error
        except openai.APIError as error:
            # An error told inside the stream.
            raise failures.from_answer(
                provider=self.provider, status=None, body=error.body, usage=usage
            ) from error
        except ValueError as error:
            # The SDK decodes every line of the stream as JSON.
            message = "The provider sent something that is not an answer."
            raise ModelError(
                ModelErrorCode.STREAM_BROKEN, message, provider=self.provider, usage=usage
            ) from error
        finally:
            if stream is not None:
                await stream.close()

    async def _connected_sdk(self) -> "AsyncOpenAI":
        async with self._sdk_lock:
            if self._sdk is None:
                # The import takes more than half a second, which the event loop must not stand still for.
                self._sdk = await asyncio.to_thread(self._make_sdk)
            return self._sdk

    def _make_sdk(self) -> "AsyncOpenAI":
        import openai

        # The SDK reads these from the environment; they belong to the account at OpenAI and to nobody else.
        foreign = {"OpenAI-Organization": openai.Omit(), "OpenAI-Project": openai.Omit()}
        return openai.AsyncOpenAI(
            api_key=self._api_key,
            base_url=self._base_url,
            timeout=openai.Timeout(self._limits.call_seconds, connect=self._limits.connect_seconds),
            max_retries=0,  # `limited` repeats requests, and knows which may have been paid for
            default_headers=None if self._is_openai else foreign,  # type: ignore[arg-type]  # Omit is meant for it
        )

    async def _begin(self, sdk: "AsyncOpenAI", request: ModelRequest) -> Any:
        """Send the request; once more in other words when the schema of the answer is refused."""
        import openai

        body = make_body(request, is_openai=self._is_openai, takes_schema=request not in self._refused)
        try:
            return await sdk.chat.completions.create(**body)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            if "response_format" not in body or "response_format" not in str(error):
                raise
        self._refused.add(request)
        body = make_body(request, is_openai=self._is_openai, takes_schema=False)
        return await sdk.chat.completions.create(**body)


def _first_choice(chunk: Any) -> Any:
    """None where there is none."""
    choices = getattr(chunk, "choices", None)
    return choices[0] if isinstance(choices, list) and choices else None


def _usage(chunk: Any) -> ModelUsage | None:
    usage = getattr(chunk, "usage", None)
    input_tokens = count_in(usage, "prompt_tokens")
    output_tokens = count_in(usage, "completion_tokens")
    if input_tokens is None or output_tokens is None:
        return None
    input_details = getattr(usage, "prompt_tokens_details", None)
    output_details = getattr(usage, "completion_tokens_details", None)
    cached_tokens = min(count_in(input_details, "cached_tokens") or 0, input_tokens)
    cache_write_tokens = count_in(input_details, "cache_write_tokens") or 0
    reasoning_tokens = count_in(output_details, "reasoning_tokens") or 0
    if count_in(usage, "total_tokens") == input_tokens + output_tokens + reasoning_tokens:
        # Some compatible servers count reasoning beside the completion, not within it.
        output_tokens += reasoning_tokens
    return ModelUsage(
        input_tokens=input_tokens,
        cached_tokens=cached_tokens,
        cache_write_tokens=min(cache_write_tokens, input_tokens - cached_tokens),
        output_tokens=output_tokens,
        reasoning_tokens=min(reasoning_tokens, output_tokens),
    )
