"""What only Anthropic's Messages API has."""

import sys

import pytest

from api.models.anthropic_body import OUTPUT_TOKENS_DEFAULT
from api.models.base import ModelErrorCode
from api.models.registry import Models
from tests.models.calls import call
from tests.providers.server import FakeProvider, Plan


async def test_instructions_and_limits_are_sent_in_its_words(models: Models, provider: FakeProvider) -> None:
    client, _ = models.resolve("anthropic:m-1")

    await call(client, instructions="Be kind.", output_tokens_max=77, temperature=0.5)

    body = provider.requests[0].body
    assert body["system"] == "Be kind."
    assert body["max_tokens"] == 77
    assert body["temperature"] == 0.5
    assert [m["role"] for m in body["messages"]] == ["user"]


async def test_the_output_limit_that_it_demands_has_a_default(models: Models, provider: FakeProvider) -> None:
    client, _ = models.resolve("anthropic:m-1")

    await call(client)

    assert provider.requests[0].body["max_tokens"] == OUTPUT_TOKENS_DEFAULT


async def test_a_broken_stream_tells_what_had_been_counted(
    impatient_models: Models, provider: FakeProvider
) -> None:
    client, _ = impatient_models.resolve("anthropic:m-1")
    provider.plans.extend([Plan(cut_after=2), Plan(stall_after=2), Plan(ends_after=2)])

    for code in (ModelErrorCode.STREAM_BROKEN, ModelErrorCode.TIMEOUT, ModelErrorCode.STREAM_BROKEN):
        heard = await call(client)

        assert heard.error is not None
        assert heard.error.code is code
        assert heard.error.usage is not None
        assert heard.error.usage.input_tokens == 20


async def test_without_its_package_it_is_not_configured(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "anthropic", None)
    client, _ = models.resolve("anthropic:m-1")

    heard = await call(client)

    assert heard.error is not None
    assert heard.error.code is ModelErrorCode.NOT_CONFIGURED
    assert "turnledger[anthropic]" in heard.error.message


async def test_an_overload_told_after_counting_is_not_repeated(
    models: Models, provider: FakeProvider
) -> None:
    client, _ = models.resolve("anthropic:m-1")
    provider.plans.append(Plan(error_after=0, error_type="overloaded_error"))

    heard = await call(client)

    assert heard.error is not None
    assert heard.error.code is ModelErrorCode.PROVIDER_UNAVAILABLE
    assert heard.error.usage is not None
    assert len(provider.requests) == 1
