"""The parts of the service, built from the settings."""

from collections.abc import Mapping

from api.events import Hub
from api.models.breaker import BreakerLimits
from api.models.limits import CallLimits
from api.models.registry import ANTHROPIC_BASE_URL, OPENAI_BASE_URL, Endpoint, Models, ModelsConfig
from api.runner.limits import TurnLimits
from api.runner.loop import Runner, RunnerLimits
from api.runner.tools.base import Toolbox
from api.settings import MODEL_KEY_PREFIX, Settings
from api.store import Store


def build_models(settings: Settings, environ: Mapping[str, str]) -> Models:
    """Make the registry of models; keys stay in `environ` until a client is made.

    Raises:
        ValueError: a provider's address or name cannot be used.
    """
    endpoints = {
        provider.name: Endpoint(
            base_url=provider.base_url,
            api_key_env=MODEL_KEY_PREFIX + provider.name.upper().replace("-", "_")
            if provider.api_key
            else None,
        )
        for provider in settings.model_providers
    }
    config = ModelsConfig(
        openai_base_url=settings.openai_base_url or OPENAI_BASE_URL,
        anthropic_base_url=ANTHROPIC_BASE_URL,
        endpoints=endpoints,
        limits=CallLimits(
            connect_seconds=settings.model_connect_seconds,
            call_seconds=settings.model_call_seconds_max,
            # Reasoning models are silent for long before they speak: only the whole call's limit holds.
            first_text_seconds=settings.model_call_seconds_max,
            stall_seconds=settings.model_stall_seconds,
            attempts_max=settings.model_retries_max + 1,
        ),
        breaker=BreakerLimits(
            failures_max=settings.model_circuit_failures_max,
            open_seconds=settings.model_circuit_open_seconds,
        ),
    )
    return Models(config, environ=environ)


def build_runner(
    settings: Settings, store: Store, models: Models, toolbox: Toolbox, hub: Hub, *, name: str
) -> Runner:
    """Make the runner of this process; with `runners` of 0 it runs nothing."""
    limits = RunnerLimits(
        turns_max=settings.runners,
        organization_turns_max=settings.organization_turns_max,
        poll_seconds=settings.poll_interval_ms / 1000,
        flush_seconds=settings.delta_flush_ms / 1000,
        shutdown_grace_seconds=settings.shutdown_grace_seconds,
        turn=TurnLimits(
            lease_seconds=settings.lease_seconds,
            heartbeat_seconds=settings.heartbeat_seconds,
            turn_seconds=settings.turn_seconds_max,
            context_tokens_default=settings.context_tokens_default,
            stream_breaks_max=settings.model_stream_breaks_max,
        ),
    )
    return Runner(store, models, hub, name=name, limits=limits, toolbox=toolbox)
