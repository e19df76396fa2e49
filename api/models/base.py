"""The seam between the runner and model providers: what is asked, what streams back, how it fails.

A client is any object with the shape of `ModelClient`. It streams `TextDelta`s, and `ReasoningDelta`s where
the provider shows them, and closes with exactly one `Finished`, or it raises `ModelError`; it never ends
silently. Whatever a provider calls its counters, here `input_tokens` includes cached tokens and
`output_tokens` includes reasoning tokens.
"""

from collections.abc import AsyncGenerator
from enum import StrEnum
from typing import Any, Literal, Protocol

import msgspec

from api.models.text import storable

ERROR_MESSAGE_CHARACTERS_MAX = 500
"""A provider's own words are cut to this length, because they are kept in the turn that failed."""


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tool as the model is told of it."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON Schema of the arguments, always an object."""


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A call that the model asks for."""

    id: str
    """The provider's; the result names it. Made up by the client where the provider gives none."""
    name: str
    arguments: str
    """JSON as the model wrote it, which need not be valid; an empty text means no arguments."""


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One message of the conversation as the model is to see it."""

    role: Literal["user", "assistant", "tool"]
    text: str
    """Of a tool: what it answered. Of an assistant that calls tools: what it said before, often nothing."""
    name: str | None = None
    """Who spoke, where the role alone does not tell; None where it does."""
    tool_calls: tuple[ToolCall, ...] = ()
    """Of an assistant: what it asked for; each is answered by a message of the role `tool` that follows."""
    tool_call_id: str | None = None
    """Of a tool: the call that this answers."""


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One model call, in no provider's dialect. Fields that a client does not send are None or empty."""

    model: str
    """The provider's own name of the model, without our `provider:` prefix."""
    instructions: str = ""
    messages: tuple[Message, ...] = ()
    """Oldest first, in any order of roles; empty when the model is to speak first. Clients adapt the order
    to what their provider accepts."""
    output_tokens_max: int | None = None
    """None leaves the limit to the provider."""
    temperature: float | None = None
    """None leaves it to the provider; several models refuse any value."""
    tools: tuple[ToolSpec, ...] = ()
    """What the model may call; empty allows none, also where the messages hold earlier calls."""
    answer_schema: dict[str, Any] | None = None
    """JSON Schema that the text must be a document of; None is free text."""
    reasoning: str | None = None
    """`off`, `low`, `medium` or `high`; a client whose provider has no word for it leaves it out. None leaves
    it to the model."""
    timeout_seconds: float | None = None
    """For the whole call, retries included; the client's own limit holds too. None sets no further limit."""


class ModelUsage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one call consumed, as the provider counted it."""

    input_tokens: int
    """Includes cached and cache-write tokens."""
    cached_tokens: int = 0
    """Read from the provider's cache, usually at a lower price."""
    cache_write_tokens: int = 0
    """Written to the provider's cache, at some providers for a higher price."""
    output_tokens: int
    """Includes reasoning tokens."""
    reasoning_tokens: int = 0


class TextDelta(msgspec.Struct, frozen=True):
    """The next piece of the reply's text, never empty."""

    text: str


class ReasoningDelta(msgspec.Struct, frozen=True):
    """The next piece of what the model thinks aloud, never empty; kept apart from the reply."""

    text: str


class FinishReason(StrEnum):
    """Why the model stopped."""

    STOP = "stop"
    """It was done."""
    TOOL_CALLS = "tool_calls"
    """It waits for the results of the calls that it asks for."""
    LENGTH = "length"
    """It met the output limit: the text is cut off."""
    FILTER = "filter"
    """The provider withheld the text, or the model declined."""
    OTHER = "other"
    """The provider gave a reason that we have no word for."""


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """The last item of every stream that did not fail."""

    usage: ModelUsage | None
    """None when the provider sent none; the caller estimates and says so."""
    finish_reason: FinishReason
    model: str
    """As the provider named it, which may be a dated edition of the model that was asked for."""
    provider: str
    tool_calls: tuple[ToolCall, ...] = ()
    """In the model's order, each whole; empty unless the reason is `TOOL_CALLS`."""


StreamItem = TextDelta | ReasoningDelta | Finished


class ModelErrorCode(StrEnum):
    """What kind of failure; kept in the failed turn and shown to whoever reads it."""

    RATE_LIMITED = "rate_limited"
    QUOTA_EXHAUSTED = "quota_exhausted"
    """The account is out of money or quota: waiting does not help, so it is not retried."""
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    """No connection, or the provider answered that it cannot serve now."""
    TIMEOUT = "timeout"
    """A limit on waiting passed. Never retried: the provider may have done, and charged, the work."""
    STREAM_BROKEN = "stream_broken"
    """The answer ended without its end, or with something that is not an answer. Never retried here."""
    BAD_REQUEST = "bad_request"
    UNAUTHORIZED = "unauthorized"
    CONTEXT_TOO_LONG = "context_too_long"
    UNKNOWN_MODEL = "unknown_model"
    NOT_CONFIGURED = "not_configured"
    """This installation has no key, or no address, for the provider."""
    CIRCUIT_OPEN = "circuit_open"
    """The provider failed several times in a row, so it was not called; see `api.models.breaker`."""
    EMPTY_REPLY = "empty_reply"
    """The call came to its end, was paid for, and brought no text."""
    INTERNAL = "internal"
    """Our own client failed in a way that it should not; the log has the traceback."""


class ModelError(Exception):
    """A model call failed. Whether it was paid for is told by `usage`, where the provider said so."""

    def __init__(
        self,
        code: ModelErrorCode,
        message: str,
        *,
        provider: str,
        status: int | None = None,
        retry_after_seconds: float | None = None,
        usage: ModelUsage | None = None,
    ) -> None:
        message = _shortened(message)
        super().__init__(f"{provider}: {code.value}: {message}")
        self.code = code
        self.message = message
        self.provider = provider
        self.status = status
        """The HTTP status of the provider's answer; None when there was no answer."""
        self.retry_after_seconds = retry_after_seconds
        """How long the provider asked us to wait; None when it did not say."""
        self.usage = usage
        """What the provider had counted before the failure; None when nothing is known."""

    @property
    def is_retryable(self) -> bool:
        """The same request may be sent again at no risk of paying twice."""
        passing = (ModelErrorCode.RATE_LIMITED, ModelErrorCode.PROVIDER_UNAVAILABLE)
        return self.code in passing and self.usage is None


class ModelClient(Protocol):
    """A way to one provider. Safe to share between tasks."""

    @property
    def provider(self) -> str:
        """The prefix of the names of this client's models: `openai` in `openai:gpt-5`."""
        ...

    def stream(self, request: ModelRequest) -> AsyncGenerator[StreamItem, None]:
        """Start a call when the first item is asked for; `TextDelta`s, then exactly one `Finished`.

        Whoever stops early closes the generator (`contextlib.aclosing`), which ends the call at the
        provider too.

        Raises:
            ModelError: the call failed, before the first item or after any.
        """
        ...

    async def close(self) -> None:
        """Release the connections; the client takes no further calls."""
        ...


def _shortened(message: str) -> str:
    message = storable(message)
    if len(message) <= ERROR_MESSAGE_CHARACTERS_MAX:
        return message
    return message[: ERROR_MESSAGE_CHARACTERS_MAX - 1] + "…"
