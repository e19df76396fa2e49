"""How a model's name finds its client."""

import subprocess
import sys
from collections.abc import AsyncGenerator

import pytest

from api.models.base import (
    Finished,
    FinishReason,
    ModelError,
    ModelErrorCode,
    ModelRequest,
    StreamItem,
)
from api.models.registry import Endpoint, Models, ModelsConfig
from tests.models.calls import call

KEYS = {"OPENAI_API_KEY": "sk-test", "ANTHROPIC_API_KEY": "sk-ant-test", "LOCAL_KEY": "k"}


class SilentClient:
    """A provider of the caller's own, which has nothing to say."""

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.is_closed = False

    async def stream(self, request: ModelRequest) -> AsyncGenerator[StreamItem, None]:
        yield Finished(
            usage=None, finish_reason=FinishReason.STOP, model=request.model, provider=self.provider
        )

    async def close(self) -> None:
        self.is_closed = True


def test_importing_the_registry_imports_no_sdk() -> None:
    code = "import sys, api.models.registry; print([m for m in ('openai', 'anthropic') if m in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_making_a_client_imports_no_sdk() -> None:
    code = (
        "import sys; from api.models.registry import Models, ModelsConfig;"
        "m = Models(ModelsConfig(), environ={'OPENAI_API_KEY': 'k', 'ANTHROPIC_API_KEY': 'k'});"
        "m.resolve('openai:x'); m.resolve('anthropic:x');"
        "print([m for m in ('openai', 'anthropic') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_the_name_behind_the_first_colon_is_the_providers_own() -> None:
    models = Models(
        ModelsConfig(endpoints={"ollama": Endpoint(base_url="http://127.0.0.1:11434/v1")}), environ={}
    )

    client, model = models.resolve("ollama:org/llama3:8b")

    assert client.provider == "ollama"
    assert model == "org/llama3:8b"


def test_each_provider_has_one_client() -> None:
    models = Models(ModelsConfig(), environ=KEYS)

    assert models.resolve("openai:a")[0] is models.resolve("openai:b")[0]


@pytest.mark.parametrize("name", ["openai:gpt-5", "anthropic:claude", "hosted:m"])
@pytest.mark.parametrize("environ", [{}, {"OPENAI_API_KEY": " ", "ANTHROPIC_API_KEY": "", "LOCAL_KEY": ""}])
def test_a_provider_without_key_is_not_configured(name: str, environ: dict[str, str]) -> None:
    config = ModelsConfig(endpoints={"hosted": Endpoint(base_url="https://h/v1", api_key_env="LOCAL_KEY")})

    with pytest.raises(ModelError) as caught:
        Models(config, environ=environ).resolve(name)

    assert caught.value.code is ModelErrorCode.NOT_CONFIGURED
    assert "_KEY" in caught.value.message


@pytest.mark.parametrize("name", ["gpt-5", "openai:", "nobody:gpt-5", "", ":x"])
def test_a_name_that_leads_nowhere_is_refused(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        Models(ModelsConfig(), environ=KEYS).resolve(name)

    assert caught.value.code is ModelErrorCode.UNKNOWN_MODEL


@pytest.mark.parametrize(
    "config",
    [
        ModelsConfig(endpoints={"openai": Endpoint(base_url="http://h/v1")}),
        ModelsConfig(endpoints={"own": Endpoint(base_url="http://h/v1")}),
        ModelsConfig(endpoints={"local": Endpoint(base_url="h/v1")}),
        ModelsConfig(openai_base_url="api.openai.com"),
    ],
    ids=["built in", "taken by a client", "no scheme", "no scheme for openai"],
)
def test_a_configuration_that_cannot_work_is_refused_at_once(config: ModelsConfig) -> None:
    with pytest.raises(ValueError, match=r"taken twice|begins with http"):
        Models(config, environ={}, clients=[SilentClient("own")])


async def test_a_client_of_the_callers_own_is_found_and_closed() -> None:
    own = SilentClient("own")
    models = Models(ModelsConfig(), environ={}, clients=[own])

    client, model = models.resolve("own:thing")
    heard = await call(client, model=model)
    await models.close()

    assert heard.finished is not None
    assert heard.finished.model == "thing"
    assert own.is_closed
    assert models.providers == ("openai", "anthropic", "scripted", "own")


def test_the_configuration_shows_no_key() -> None:
    config = ModelsConfig(endpoints={"hosted": Endpoint(base_url="https://h/v1", api_key_env="LOCAL_KEY")})

    Models(config, environ={"LOCAL_KEY": "sk-very-secret"}).resolve("hosted:m")

    assert "sk-very-secret" not in repr(config)
