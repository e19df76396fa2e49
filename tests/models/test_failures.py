"""What refusals of providers mean."""

from datetime import UTC, datetime

import pytest

from api.models.base import ERROR_MESSAGE_CHARACTERS_MAX, ModelErrorCode
from api.models.failures import from_answer, from_connection, retry_after_seconds

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "7", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Fri, 20 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Fri, 20 Nov 2026 12:00:30"}, 30.0),
        ({"retry-after": "Fri, 20 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e999"}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers, now=NOW) == seconds


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"error": {"code": "context_length_exceeded"}}, ModelErrorCode.CONTEXT_TOO_LONG),
        (400, {"message": "the request exceeds the available context size"}, ModelErrorCode.CONTEXT_TOO_LONG),
        (400, {"error": "no such field"}, ModelErrorCode.BAD_REQUEST),
        (403, {}, ModelErrorCode.UNAUTHORIZED),
        (402, {}, ModelErrorCode.QUOTA_EXHAUSTED),
        (413, "too large", ModelErrorCode.CONTEXT_TOO_LONG),
        (418, None, ModelErrorCode.BAD_REQUEST),
        (529, {"error": {"type": "overloaded_error"}}, ModelErrorCode.PROVIDER_UNAVAILABLE),
        (503, "<html>", ModelErrorCode.PROVIDER_UNAVAILABLE),
        (None, {"code": 429, "message": "slow down"}, ModelErrorCode.RATE_LIMITED),
        (None, {"code": 7}, ModelErrorCode.STREAM_BROKEN),
        (None, {"message": ["not", "text"]}, ModelErrorCode.STREAM_BROKEN),
    ],
)
def test_a_refusal_finds_its_name(status: int | None, body: object, code: ModelErrorCode) -> None:
    error = from_answer(provider="p", status=status, body=body)

    assert error.code is code
    assert error.message


def test_a_long_message_of_a_provider_is_cut() -> None:
    error = from_answer(provider="p", status=400, body={"message": "x" * 10_000})

    assert len(error.message) == ERROR_MESSAGE_CHARACTERS_MAX
    assert error.message.endswith("…")


@pytest.mark.parametrize(
    ("never_sent", "timed_out", "code", "is_retryable"),
    [
        (True, False, ModelErrorCode.PROVIDER_UNAVAILABLE, True),
        (True, True, ModelErrorCode.PROVIDER_UNAVAILABLE, True),
        (False, True, ModelErrorCode.TIMEOUT, False),
        (False, False, ModelErrorCode.STREAM_BROKEN, False),
    ],
)
def test_only_a_request_that_never_left_may_be_sent_again(
    never_sent: bool, timed_out: bool, code: ModelErrorCode, is_retryable: bool
) -> None:
    error = from_connection(provider="p", never_sent=never_sent, timed_out=timed_out)

    assert error.code is code
    assert error.is_retryable is is_retryable
