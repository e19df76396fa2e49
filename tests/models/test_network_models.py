"""What both network clients have in common, each through its own SDK against a real server."""

import asyncio
from contextlib import aclosing

import pytest

from api.models.base import (
    FinishReason,
    Message,
    ModelClient,
    ModelErrorCode,
    ModelRequest,
    TextDelta,
)
from api.models.limits import CallLimits
from api.models.openai_compatible import OpenAICompatibleClient
from api.models.registry import Models
from tests.models.calls import call
from tests.providers.server import FakeProvider, Plan

PROVIDERS = ["openai", "anthropic", "local"]


@pytest.fixture(params=PROVIDERS)
def client(models: Models, request: pytest.FixtureRequest) -> ModelClient:
    return models.resolve(f"{request.param}:m-1")[0]


@pytest.fixture(params=PROVIDERS)
def impatient(impatient_models: Models, request: pytest.FixtureRequest) -> ModelClient:
    return impatient_models.resolve(f"{request.param}:m-1")[0]


async def test_text_streams_and_ends_with_usage(client: ModelClient, provider: FakeProvider) -> None:
    heard = await call(client)

    assert heard.text == "".join(f"word{n} " for n in range(8))
    assert heard.delta_count == 8
    assert heard.finished is not None
    assert heard.finished.usage is not None
    assert heard.finished.usage.input_tokens == 20
    assert heard.finished.usage.output_tokens == 8
    assert heard.finished.finish_reason is FinishReason.STOP
    assert heard.finished.model == "m-1"
    assert heard.finished.provider == client.provider


async def test_cached_tokens_are_part_of_the_input(client: ModelClient, provider: FakeProvider) -> None:
    exclusive = client.provider == "anthropic"
    provider.plans.append(
        Plan(
            input_tokens=60 if exclusive else 100, cached_tokens=30, cache_write_tokens=10, reasoning_tokens=0
        )
    )

    heard = await call(client)

    assert heard.finished is not None
    assert heard.finished.usage is not None
    assert heard.finished.usage.input_tokens == 100
    assert heard.finished.usage.cached_tokens == 30
    assert heard.finished.usage.cache_write_tokens == 10


async def test_a_noisy_stream_is_read_all_the_same(client: ModelClient, provider: FakeProvider) -> None:
    provider.plans.append(Plan(words=3, is_noisy=True))

    heard = await call(client)

    assert heard.error is None
    assert heard.text == "word0 word1 word2 "


async def test_no_text_is_an_answer_too(client: ModelClient, provider: FakeProvider) -> None:
    provider.plans.append(Plan(words=0))

    heard = await call(client)

    assert heard.error is None
    assert heard.text == ""
    assert heard.finished is not None


async def test_a_reply_cut_by_the_output_limit_says_so(client: ModelClient, provider: FakeProvider) -> None:
    provider.plans.append(
        Plan(finish_reason="max_tokens" if client.provider == "anthropic" else "length"),
    )

    heard = await call(client)

    assert heard.finished is not None
    assert heard.finished.finish_reason is FinishReason.LENGTH


async def test_an_unheard_of_finish_reason_is_other(client: ModelClient, provider: FakeProvider) -> None:
    provider.plans.append(Plan(finish_reason="moonrise"))

    heard = await call(client)

    assert heard.finished is not None
    assert heard.finished.finish_reason is FinishReason.OTHER


async def test_a_rate_limit_is_waited_out_and_the_request_repeated(
    client: ModelClient, provider: FakeProvider
) -> None:
    provider.plans.append(Plan(status=429, error_type="rate_limit_exceeded", retry_after="0"))

    heard = await call(client)

    assert heard.error is None
    assert len(provider.requests) == 2


async def test_retry_after_is_the_wait(client: ModelClient, provider: FakeProvider) -> None:
    provider.plans.append(Plan(status=429, retry_after="0.3"))
    began_at = asyncio.get_running_loop().time()

    heard = await call(client)

    assert heard.error is None
    assert asyncio.get_running_loop().time() - began_at >= 0.3


async def test_a_wait_beyond_the_call_limit_fails_at_once(
    client: ModelClient, provider: FakeProvider
) -> None:
    provider.plans.append(Plan(status=429, retry_after="60"))

    heard = await call(client)

    assert heard.error is not None
    assert heard.error.code is ModelErrorCode.RATE_LIMITED
    assert heard.error.retry_after_seconds == 60
    assert len(provider.requests) == 1


async def test_a_server_error_is_retried_and_then_told(client: ModelClient, provider: FakeProvider) -> None:
    provider.plans.extend([Plan(status=500, retry_after="0")] * 3)

    heard = await call(client)

    assert heard.error is not None
    assert heard.error.code is ModelErrorCode.PROVIDER_UNAVAILABLE
    assert heard.error.status == 500
    assert heard.error.message == "The fake provider was told to refuse."
    assert len(provider.requests) == 3


@pytest.mark.parametrize(
    ("plan", "code"),
    [
        (Plan(status=400, error_type="invalid_request_error"), ModelErrorCode.BAD_REQUEST),
        (Plan(status=400, error_type="context_length_exceeded"), ModelErrorCode.CONTEXT_TOO_LONG),
        (
            Plan(status=400, error_message="prompt is too long: 9 tokens > 8 maximum"),
            ModelErrorCode.CONTEXT_TOO_LONG,
        ),
        (Plan(status=401, error_message="Incorrect API key: sk-test"), ModelErrorCode.UNAUTHORIZED),
        (Plan(status=404, error_type="model_not_found"), ModelErrorCode.UNKNOWN_MODEL),
        (Plan(status=429, error_type="insufficient_quota"), ModelErrorCode.QUOTA_EXHAUSTED),
        (Plan(status=504), ModelErrorCode.TIMEOUT),
    ],
    ids=lambda value: value.value if isinstance(value, ModelErrorCode) else None,
)
async def test_a_refusal_that_waiting_does_not_change_is_told_at_once(
    client: ModelClient, provider: FakeProvider, plan: Plan, code: ModelErrorCode
) -> None:
    provider.plans.append(plan)

    heard = await call(client)

    assert heard.error is not None
    assert heard.error.code is code
    assert "sk-test" not in heard.error.message
    assert len(provider.requests) == 1


async def test_a_stream_cut_in_the_middle_is_broken_and_not_repeated(
    client: ModelClient, provider: FakeProvider
) -> None:
    provider.plans.append(Plan(cut_after=3))

    heard = await call(client)

    assert heard.error is not None
    assert heard.error.code is ModelErrorCode.STREAM_BROKEN
    assert heard.delta_count <= 3
    assert len(provider.requests) == 1


async def test_a_stream_cut_before_its_text_may_have_been_paid_and_is_not_repeated(
    client: ModelClient, provider: FakeProvider
) -> None:
    provider.plans.append(Plan(cut_after=0))

    heard = await call(client)

    assert heard.error is not None
    assert heard.error.code is ModelErrorCode.STREAM_BROKEN
    assert len(provider.requests) == 1


async def test_a_stream_that_ends_without_a_finish_reason_is_broken(
    client: ModelClient, provider: FakeProvider
) -> None:
    provider.plans.append(Plan(ends_after=2))

    heard = await call(client)

    assert heard.text == "word0 word1 "
    assert heard.error is not None
    assert heard.error.code is ModelErrorCode.STREAM_BROKEN


async def test_a_silent_stall_meets_its_limit_and_ends_the_call(
    impatient: ModelClient, provider: FakeProvider
) -> None:
    provider.plans.append(Plan(stall_after=2))

    heard = await call(impatient)

    assert heard.text == "word0 word1 "
    assert heard.error is not None
    assert heard.error.code is ModelErrorCode.TIMEOUT
    assert len(provider.requests) == 1
    await asyncio.wait_for(provider.disconnected.wait(), timeout=5)


async def test_silence_before_the_first_text_has_a_limit_of_its_own(provider: FakeProvider) -> None:
    limits = CallLimits(first_text_seconds=0.2, stall_seconds=5)
    client = OpenAICompatibleClient(
        provider="local", base_url=f"{provider.base_url}/v1", api_key="k", limits=limits, is_openai=False
    )
    provider.plans.append(Plan(stall_after=0))

    heard = await call(client)
    await client.close()

    assert heard.error is not None
    assert heard.error.code is ModelErrorCode.TIMEOUT
    assert "0.2 seconds" in heard.error.message


async def test_calls_share_one_connection(client: ModelClient, provider: FakeProvider) -> None:
    for _ in range(3):
        assert (await call(client)).error is None

    assert provider.connection_count == 1


async def test_the_whole_call_meets_its_limit(client: ModelClient, provider: FakeProvider) -> None:
    provider.plans.append(Plan(words=1_000, delay_ms=20))

    heard = await call(client, timeout_seconds=0.3)

    assert heard.error is not None
    assert heard.error.code is ModelErrorCode.TIMEOUT
    assert heard.delta_count >= 1


async def test_a_stall_behind_the_finish_reason_loses_nothing_that_was_said(
    impatient: ModelClient, provider: FakeProvider
) -> None:
    provider.plans.append(Plan(words=2, stalls_after_finish=True))

    heard = await call(impatient)

    assert heard.text == "word0 word1 "
    assert heard.error is None
    assert heard.finished is not None


async def test_a_cut_behind_the_finish_reason_loses_nothing_that_was_said(
    client: ModelClient, provider: FakeProvider
) -> None:
    provider.plans.append(Plan(words=2, cuts_after_finish=True))

    heard = await call(client)

    assert heard.error is None
    assert heard.finished is not None


async def test_a_garbage_line_is_a_broken_stream(client: ModelClient, provider: FakeProvider) -> None:
    provider.plans.append(Plan(garbage_after=1))

    heard = await call(client)

    assert heard.error is not None
    assert heard.error.code is ModelErrorCode.STREAM_BROKEN


@pytest.mark.parametrize(
    "garbage",
    [
        "null",
        "5",
        "[]",
        '"text"',
        "{}",
        '{"choices": {"a": 1}}',
        '{"choices": "abc"}',
        '{"choices": [null]}',
        '{"choices": [{"delta": 1}]}',
        '{"choices": [{"delta": {"content": {"a": 1}}}], "usage": {"prompt_tokens": "x"}}',
        '{"choices": [{"delta": {}, "finish_reason": {}}], "usage": 7, "model": 7}',
        '{"error": "out of cheese"}',
        '{"type": "message_start"}',
        '{"type": "content_block_delta", "delta": {"type": "text_delta", "text": 7}}',
        '{"type": "message_delta", "delta": {"stop_reason": []}, "usage": 3}',
        '{"type": 3, "message": {"usage": null}}',
    ],
)
async def test_json_that_is_no_answer_breaks_the_stream_or_is_passed_over(
    client: ModelClient, provider: FakeProvider, garbage: str
) -> None:
    provider.plans.append(Plan(words=2, garbage_after=1, garbage=garbage))

    heard = await call(client)

    assert heard.text in ("word0 ", "word0 word1 ")
    if heard.error is None:
        assert heard.finished is not None
        assert heard.finished.finish_reason is FinishReason.STOP
        assert heard.finished.model == "m-1"
    else:
        assert heard.error.code is ModelErrorCode.STREAM_BROKEN


async def test_an_error_inside_the_stream_is_told(client: ModelClient, provider: FakeProvider) -> None:
    provider.plans.append(Plan(error_after=1, error_type="overloaded_error"))

    heard = await call(client)

    assert heard.text == "word0 "
    assert heard.error is not None
    assert heard.error.code is ModelErrorCode.PROVIDER_UNAVAILABLE
    assert len(provider.requests) == 1


async def test_a_caller_that_stops_listening_ends_the_call_at_the_provider(
    client: ModelClient, provider: FakeProvider
) -> None:
    provider.plans.append(Plan(stall_after=1))
    request = ModelRequest(model="m-1", messages=(Message(role="user", text="Hello"),))

    async with aclosing(client.stream(request)) as stream:
        first = await anext(stream)

    assert first == TextDelta("word0 ")
    await asyncio.wait_for(provider.disconnected.wait(), timeout=5)


async def test_a_cancelled_caller_ends_the_call_at_the_provider(
    client: ModelClient, provider: FakeProvider
) -> None:
    provider.plans.append(Plan(stall_after=1))
    heard_first = asyncio.Event()

    async def listen() -> None:
        request = ModelRequest(model="m-1", messages=(Message(role="user", text="Hello"),))
        async with aclosing(client.stream(request)) as stream:
            async for _ in stream:
                heard_first.set()

    task = asyncio.create_task(listen())
    await asyncio.wait_for(heard_first.wait(), timeout=5)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(provider.disconnected.wait(), timeout=5)


async def test_an_unreachable_provider_is_unavailable(models: Models, provider: FakeProvider) -> None:
    client, model = models.resolve("local:m-1")
    await provider.stop()

    heard = await call(client, model=model, timeout_seconds=10)

    assert heard.error is not None
    assert heard.error.code is ModelErrorCode.PROVIDER_UNAVAILABLE
    assert heard.error.status is None


async def test_the_agent_speaking_first_is_sent_as_an_answer_to_an_opening(
    client: ModelClient, provider: FakeProvider
) -> None:
    messages = (
        Message(role="assistant", text="Welcome."),
        Message(role="user", text="One"),
        Message(role="user", text="Two", name="Bo"),
    )

    await call(client, messages=messages, instructions="Be kind.")

    sent = provider.requests[0].body["messages"]
    assert [m["role"] for m in sent if m["role"] != "system"] == ["user", "assistant", "user"]
    assert sent[-1]["content"] == "One\n\nBo: Two"


async def test_a_model_that_is_to_speak_first_gets_an_opening(
    client: ModelClient, provider: FakeProvider
) -> None:
    heard = await call(client, messages=())

    assert heard.error is None
    assert [m["role"] for m in provider.requests[0].body["messages"]] == ["user"]
