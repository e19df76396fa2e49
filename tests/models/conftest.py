"""The fake provider, and a registry that reaches it under every name."""

from collections.abc import AsyncIterator

import pytest

from api.models.limits import CallLimits
from api.models.registry import Endpoint, Models, ModelsConfig
from tests.providers.server import FakeProvider

LIMITS = CallLimits(
    connect_seconds=2, call_seconds=10, first_text_seconds=5, stall_seconds=0.2, attempts_max=3
)


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as provider:
        yield provider


@pytest.fixture
async def models(provider: FakeProvider) -> AsyncIterator[Models]:
    models = Models(
        ModelsConfig(
            openai_base_url=f"{provider.base_url}/v1",
            anthropic_base_url=provider.base_url,
            endpoints={"local": Endpoint(base_url=f"{provider.base_url}/v1")},
            limits=LIMITS,
        ),
        environ={"OPENAI_API_KEY": "sk-test", "ANTHROPIC_API_KEY": "sk-ant-test"},
    )
    yield models
    await models.close()
