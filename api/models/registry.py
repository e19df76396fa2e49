"""Finds the client for a model's name: `openai:...`, `anthropic:...`, `scripted:...` or a declared endpoint.

Names are `provider:model`; everything behind the first colon is the provider's own name for the model.
"""

from collections.abc import Mapping, Sequence

import msgspec

from api.models.anthropic_messages import AnthropicClient
from api.models.base import ModelClient, ModelError, ModelErrorCode
from api.models.breaker import BreakerLimits, GuardedClient
from api.models.limits import CallLimits
from api.models.openai_compatible import OpenAICompatibleClient
from api.models.scripted import ScriptedClient

OPENAI_BASE_URL = "https://api.openai.com/v1"
ANTHROPIC_BASE_URL = "https://api.anthropic.com"

_BUILT_IN = ("openai", "anthropic", "scripted")

_KEY_OF_KEYLESS_SERVERS = "none"
"""The SDK insists on a key; servers that want none ignore it."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server that speaks chat completions, declared by the operator under a name of its own."""

    base_url: str
    """Up to and including the version: `http://127.0.0.1:11434/v1`."""
    api_key_env: str | None = None
    """The environment variable that holds its key; None for a server that wants none."""


class ModelsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How providers are reached. Holds no secret: keys stay in the environment until a client is made."""

    openai_base_url: str = OPENAI_BASE_URL
    openai_api_key_env: str = "OPENAI_API_KEY"
    anthropic_base_url: str = ANTHROPIC_BASE_URL
    anthropic_api_key_env: str = "ANTHROPIC_API_KEY"
    endpoints: Mapping[str, Endpoint] = {}
    """By the name that stands before the colon."""
    limits: CallLimits = CallLimits()
    breaker: BreakerLimits = BreakerLimits()


class Models:
    """All models that this installation can call; makes each provider's client once, at its first use."""

    def __init__(
        self,
        config: ModelsConfig,
        *,
        environ: Mapping[str, str],
        clients: Sequence[ModelClient] = (),
    ) -> None:
        """`clients` are further providers, made by the caller, known under their own `provider`.

        Raises:
            ValueError: a name is taken twice, or an address is no http(s) address.
        """
        self._config = config
        self._environ = environ
        self._clients: dict[str, GuardedClient] = {
            client.provider: GuardedClient(client, config.breaker) for client in clients
        }
        names = [*_BUILT_IN, *config.endpoints, *(client.provider for client in clients)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"The provider name {name!r} is taken twice.")
        addresses = [endpoint.base_url for endpoint in config.endpoints.values()]
        for address in (config.openai_base_url, config.anthropic_base_url, *addresses):
            if not address.startswith(("http://", "https://")):
                raise ValueError(f"A provider's address begins with http:// or https://, unlike {address!r}.")

    @property
    def providers(self) -> tuple[str, ...]:
        """What may stand before the colon, whether or not there is a key for it."""
        return tuple(dict.fromkeys((*_BUILT_IN, *self._config.endpoints, *self._clients)))

    def resolve(self, name: str) -> tuple[ModelClient, str]:
        """The client for `provider:model`, and the model's name as `ModelRequest.model` takes it.

        Raises:
            ModelError: `unknown_model` when there is no such provider, `not_configured` when it has no key,
                `circuit_open` while it is left alone after failures in a row.
        """
        provider, colon, model = name.partition(":")
        if not colon or not model:
            message = f"A model is named `provider:model`, not {name!r}."
            raise ModelError(ModelErrorCode.UNKNOWN_MODEL, message, provider=provider)
        client = self._clients.get(provider)
        if client is None:
            made = self._make(provider)
            client = self._clients[provider] = GuardedClient(made, self._config.breaker)
        client.admit()
        return client, model

    async def close(self) -> None:
        """Close every client."""
        for client in self._clients.values():
            await client.close()

    def _make(self, provider: str) -> ModelClient:
        config = self._config
        if provider == "scripted":
            return ScriptedClient()
        if provider == "openai":
            return OpenAICompatibleClient(
                provider=provider,
                base_url=config.openai_base_url,
                api_key=self._key(provider, config.openai_api_key_env),
                limits=config.limits,
                is_openai=config.openai_base_url.rstrip("/") == OPENAI_BASE_URL,
            )
        if provider == "anthropic":
            return AnthropicClient(
                base_url=config.anthropic_base_url,
                api_key=self._key(provider, config.anthropic_api_key_env),
                limits=config.limits,
            )
        endpoint = config.endpoints.get(provider)
        if endpoint is None:
            message = f"There is no provider {provider!r}; there are {', '.join(self.providers)}."
            raise ModelError(ModelErrorCode.UNKNOWN_MODEL, message, provider=provider)
        key_env = endpoint.api_key_env
        return OpenAICompatibleClient(
            provider=provider,
            base_url=endpoint.base_url,
            api_key=_KEY_OF_KEYLESS_SERVERS if key_env is None else self._key(provider, key_env),
            limits=config.limits,
            is_openai=False,
        )

    def _key(self, provider: str, variable: str) -> str:
        key = self._environ.get(variable, "").strip()
        if not key:
            message = f"Set {variable} to use models of {provider!r}."
            raise ModelError(ModelErrorCode.NOT_CONFIGURED, message, provider=provider)
        return key
