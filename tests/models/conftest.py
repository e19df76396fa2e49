"""The fake provider, and registries that reach it under every name."""

from collections.abc import AsyncIterator

# Imported before any test runs, so that no test's own limit counts the second that this takes.
import anthropic  # noqa: F401
import openai  # noqa: F401
import pytest

from api.models.limits import CallLimits
from api.models.registry import Endpoint, Models, ModelsConfig
from tests.providers.server import FakeProvider

PATIENT = CallLimits(connect_seconds=5, call_seconds=30, first_text_seconds=20, stall_seconds=20)
IMPATIENT = CallLimits(connect_seconds=5, call_seconds=30, first_text_seconds=20, stall_seconds=0.3)


def make_models(provider: FakeProvider, limits: CallLimits) -> Models:
    return Models(
        ModelsConfig(
            openai_base_url=f"{provider.base_url}/v1",
            anthropic_base_url=provider.base_url,
            endpoints={"local": Endpoint(base_url=f"{provider.base_url}/v1")},
            limits=limits,
        ),
        environ={"OPENAI_API_KEY": "sk-test", "ANTHROPIC_API_KEY": "sk-ant-test"},
    )


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as provider:
        yield provider


@pytest.fixture
async def models(provider: FakeProvider) -> AsyncIterator[Models]:
    models = make_models(provider, PATIENT)
    yield models
    await models.close()


@pytest.fixture
async def impatient_models(provider: FakeProvider) -> AsyncIterator[Models]:
    """They give a stream that falls silent 0.3 seconds."""
    models = make_models(provider, IMPATIENT)
    yield models
    await models.close()
