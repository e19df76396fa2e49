"""The settings reach the parts that they are about."""

import pytest

from api.app.composition import build_models
from api.models.base import ModelError
from api.settings import load

ENVIRON = {
    "TURNLEDGER_MODEL_PROVIDERS": "my-server=http://127.0.0.1:9/v1,open=http://127.0.0.1:9/v1",
    "TURNLEDGER_MODEL_KEY_MY_SERVER": "secret",
    "OPENAI_API_KEY": "sk-none",
}


async def test_every_declared_provider_can_be_called_by_its_name() -> None:
    models = build_models(load(ENVIRON, {}), ENVIRON)

    resolved = [models.resolve(name) for name in ("my-server:m", "open:m", "openai:m", "scripted:demo")]

    assert [(client.provider, model) for client, model in resolved] == [
        ("my-server", "m"),
        ("open", "m"),
        ("openai", "m"),
        ("scripted", "demo"),
    ]
    await models.close()


async def test_a_provider_without_its_key_is_told_when_it_is_called() -> None:
    models = build_models(load({}, {}), {})

    with pytest.raises(ModelError, match="ANTHROPIC_API_KEY"):
        models.resolve("anthropic:m")

    await models.close()
