"""What only chat completions have."""

import pytest

from api.models.base import ModelErrorCode
from api.models.limits import CallLimits
from api.models.openai_compatible import OpenAICompatibleClient
from api.models.registry import Models
from tests.models.calls import call
from tests.providers.server import FakeProvider, Plan


@pytest.mark.parametrize("usage", ["after_finish", "with_finish", "with_text"])
async def test_usage_is_read_wherever_it_stands(models: Models, provider: FakeProvider, usage: str) -> None:
    client, _ = models.resolve("local:m-1")
    provider.plans.append(Plan(usage=usage, reasoning_tokens=5))  # type: ignore[arg-type]

    heard = await call(client)

    assert heard.finished is not None
    assert heard.finished.usage is not None
    assert heard.finished.usage.output_tokens == 13
    assert heard.finished.usage.reasoning_tokens == 5


async def test_a_server_that_sends_no_usage_leaves_it_unknown(models: Models, provider: FakeProvider) -> None:
    client, _ = models.resolve("local:m-1")
    provider.plans.append(Plan(usage="none"))

    heard = await call(client)

    assert heard.finished is not None
    assert heard.finished.usage is None


async def test_usage_is_asked_for(models: Models, provider: FakeProvider) -> None:
    client, _ = models.resolve("openai:m-1")

    await call(client, temperature=0.5)

    body = provider.requests[0].body
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert body["temperature"] == 0.5


@pytest.mark.parametrize(
    ("is_openai", "field", "other"),
    [(True, "max_completion_tokens", "max_tokens"), (False, "max_tokens", "max_completion_tokens")],
)
async def test_the_output_limit_is_sent_in_the_word_the_server_knows(
    provider: FakeProvider, is_openai: bool, field: str, other: str
) -> None:
    client = OpenAICompatibleClient(
        provider="openai",
        base_url=f"{provider.base_url}/v1",
        api_key="sk-test",
        limits=CallLimits(),
        is_openai=is_openai,
    )

    await call(client, output_tokens_max=77)
    await client.close()

    assert provider.requests[0].body[field] == 77
    assert other not in provider.requests[0].body


async def test_headers_of_the_account_at_openai_go_nowhere_else(
    models: Models, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-secret")
    client, _ = models.resolve("local:m-1")

    await call(client)

    assert "secret" not in str(provider.requests[0].headers)


async def test_reasoning_counted_beside_the_completion_is_added_to_the_output(
    models: Models, provider: FakeProvider
) -> None:
    client, _ = models.resolve("local:m-1")
    provider.plans.append(Plan(reasoning_tokens=5, counts_reasoning_beside=True))

    heard = await call(client)

    assert heard.finished is not None
    assert heard.finished.usage is not None
    assert heard.finished.usage.output_tokens == 13


async def test_more_cached_tokens_than_input_are_not_believed(models: Models, provider: FakeProvider) -> None:
    client, _ = models.resolve("local:m-1")
    provider.plans.append(Plan(input_tokens=10, cached_tokens=99, cache_write_tokens=99))

    heard = await call(client)

    assert heard.finished is not None
    assert heard.finished.usage is not None
    assert heard.finished.usage.cached_tokens == 10
    assert heard.finished.usage.cache_write_tokens == 0


async def test_a_figure_beyond_belief_is_no_usage(models: Models, provider: FakeProvider) -> None:
    client, _ = models.resolve("local:m-1")
    provider.plans.append(Plan(input_tokens=10**15))

    heard = await call(client)

    assert heard.finished is not None
    assert heard.finished.usage is None


async def test_an_error_of_unknown_kind_inside_a_stream_is_not_repeated(
    models: Models, provider: FakeProvider
) -> None:
    client, _ = models.resolve("local:m-1")
    provider.plans.append(Plan(error_after=0, error_type="mystery"))

    heard = await call(client)

    assert heard.error is not None
    assert heard.error.code is ModelErrorCode.STREAM_BROKEN
    assert len(provider.requests) == 1
