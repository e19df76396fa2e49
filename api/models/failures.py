"""What a provider's refusal means: HTTP statuses, error types and `Retry-After` in, `ModelError` out."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from api.models.base import ModelError, ModelErrorCode, ModelUsage

_BY_TYPE: Mapping[str, ModelErrorCode] = {
    # OpenAI and its kin write these as `code` or `type`, Anthropic as `type`.
    "context_length_exceeded": ModelErrorCode.CONTEXT_TOO_LONG,
    "exceed_context_size_error": ModelErrorCode.CONTEXT_TOO_LONG,
    "request_too_large": ModelErrorCode.CONTEXT_TOO_LONG,
    "insufficient_quota": ModelErrorCode.QUOTA_EXHAUSTED,
    "billing_error": ModelErrorCode.QUOTA_EXHAUSTED,
    "model_not_found": ModelErrorCode.UNKNOWN_MODEL,
    "not_found_error": ModelErrorCode.UNKNOWN_MODEL,
    "invalid_api_key": ModelErrorCode.UNAUTHORIZED,
    "authentication_error": ModelErrorCode.UNAUTHORIZED,
    "permission_error": ModelErrorCode.UNAUTHORIZED,
    "rate_limit_exceeded": ModelErrorCode.RATE_LIMITED,
    "rate_limit_error": ModelErrorCode.RATE_LIMITED,
    "timeout_error": ModelErrorCode.TIMEOUT,
    "overloaded_error": ModelErrorCode.PROVIDER_UNAVAILABLE,
    "api_error": ModelErrorCode.PROVIDER_UNAVAILABLE,
    "server_error": ModelErrorCode.PROVIDER_UNAVAILABLE,
}

_BY_STATUS: Mapping[int, ModelErrorCode] = {
    401: ModelErrorCode.UNAUTHORIZED,
    402: ModelErrorCode.QUOTA_EXHAUSTED,
    403: ModelErrorCode.UNAUTHORIZED,
    404: ModelErrorCode.UNKNOWN_MODEL,
    408: ModelErrorCode.TIMEOUT,
    413: ModelErrorCode.CONTEXT_TOO_LONG,
    429: ModelErrorCode.RATE_LIMITED,
    # A gateway gave up waiting; what is behind it may have done, and charged, the work.
    504: ModelErrorCode.TIMEOUT,
    524: ModelErrorCode.TIMEOUT,
}

_TOO_LONG = re.compile(
    r"prompt is too long|context (?:length|window|size)|maximum context|too many (?:input )?tokens",
    re.IGNORECASE,
)


def from_answer(
    *,
    provider: str,
    status: int | None,
    body: object,
    headers: Mapping[str, str] | None = None,
    usage: ModelUsage | None = None,
    now: datetime | None = None,
) -> ModelError:
    """Name the failure that a provider told us, in an answer's body or in the middle of a stream.

    `status` is None where the error came inside a stream that had begun well. `body` is the decoded JSON,
    with or without its outer `{"error": ...}`, or anything else that came instead.
    """
    error = _inner(body)
    code = _code(_status_in_stream(error) if status is None else status, error)
    if code is ModelErrorCode.UNAUTHORIZED:
        # Providers quote parts of the key here, and this text is shown to whoever reads the session.
        message = "The provider refused this installation's key, or the key does not allow this model."
    else:
        message = _text(error.get("message")) or f"The provider answered with status {status}."
    return ModelError(
        code,
        message,
        provider=provider,
        status=status,
        retry_after_seconds=retry_after_seconds(headers or {}, now=now),
        usage=usage,
    )


def from_connection(
    *, provider: str, never_sent: bool, timed_out: bool, usage: ModelUsage | None = None
) -> ModelError:
    """Name a failure of the connection itself. Only a request that never left may be sent again."""
    if never_sent:
        code, message = ModelErrorCode.PROVIDER_UNAVAILABLE, "No connection to the provider could be made."
    elif timed_out:
        code, message = ModelErrorCode.TIMEOUT, "The provider did not answer in time."
    else:
        code, message = ModelErrorCode.STREAM_BROKEN, "The connection to the provider broke."
    return ModelError(code, message, provider=provider, usage=usage)


def retry_after_seconds(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Read `Retry-After` (seconds or a date, RFC 9110 10.2.3); `retry-after-ms` wins, for it is finer.

    None where there is neither, or nothing that can be read.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    written = headers.get("retry-after")
    seconds = _number(written)
    if seconds is not None or written is None:
        return seconds
    try:
        at = parsedate_to_datetime(written)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - (now or datetime.now(UTC))).total_seconds())


def _inner(body: object) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        return {}
    inner = body.get("error", body)
    if isinstance(inner, dict):
        return inner
    return {"message": inner}


def _code(status: int | None, error: Mapping[str, Any]) -> ModelErrorCode:
    for name in (error.get("code"), error.get("type")):
        if isinstance(name, str) and name in _BY_TYPE:
            return _BY_TYPE[name]
    if status is None:
        return ModelErrorCode.STREAM_BROKEN
    if status == 400 and _TOO_LONG.search(_text(error.get("message"))):
        return ModelErrorCode.CONTEXT_TOO_LONG
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return ModelErrorCode.PROVIDER_UNAVAILABLE if status >= 500 else ModelErrorCode.BAD_REQUEST


def _status_in_stream(error: Mapping[str, Any]) -> int | None:
    """Some servers write the status that they would have answered with as the error's code."""
    code = error.get("code")
    return code if isinstance(code, int) and 400 <= code <= 599 else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(written: str | None) -> float | None:
    """A finite number of at least 0, or None."""
    try:
        number = float(written or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
