"""Chat completions as OpenAI defined them, spoken to OpenAI or to any server that says the same.

The stream is read tolerantly: usage may come after the finish reason, on the last text, or not at all;
chunks may have no choices; fields may be missing.
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
    StreamItem,
    TextDelta,
)
from api.models.limits import AdapterItem, CallLimits, limited
from api.models.messages import alternating
from api.models.shapes import count_in, model_named, text_in

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_FINISH_REASONS = {
    "stop": FinishReason.STOP,
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
        # OpenAI's reasoning models refuse `max_tokens`; of the compatible servers many know nothing else,
        # and some ignore what they do not know, which would leave the output without a limit.
        self._output_limit_field = "max_completion_tokens" if is_openai else "max_tokens"
        self._is_openai = is_openai
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
        model = request.model
        stream: Any = None
        try:
            stream = await sdk.chat.completions.create(**self._body(request))
            async for chunk in stream:
                usage = _usage(chunk) or usage
                model = model_named(chunk) or model
                text, reason = _first_choice(chunk)
                if text:
                    yield TextDelta(text)
                if reason is not None:
                    finish_reason = _FINISH_REASONS.get(reason, FinishReason.OTHER)
                if finish_reason is None:
                    yield usage
                else:
                    yield Finished(
                        usage=usage, finish_reason=finish_reason, model=model, provider=self.provider
                    )
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

    def _body(self, request: ModelRequest) -> dict[str, Any]:
        messages = [{"role": e.role, "content": e.text} for e in alternating(request.messages)]
        if request.instructions:
            # `developer` is OpenAI's newer word for it; servers everywhere know `system`.
            messages.insert(0, {"role": "system", "content": request.instructions})
        body: dict[str, Any] = {
            "model": request.model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.output_tokens_max is not None:
            body[self._output_limit_field] = request.output_tokens_max
        if request.temperature is not None:
            body["temperature"] = request.temperature
        return body


def _first_choice(chunk: Any) -> tuple[str | None, str | None]:
    """The text and the finish reason of a chunk, each None where it has none."""
    choices = getattr(chunk, "choices", None)
    if not isinstance(choices, list) or not choices:
        return None, None
    delta = getattr(choices[0], "delta", None)
    text = text_in(delta, "content") or text_in(delta, "refusal")
    return text, text_in(choices[0], "finish_reason")


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
