"""Agents: what callers send to publish them, and what they get.

`Definition` says here what a definition looks like on the wire, with its bounds; `api.agents.definition` is
the judge of what it means, also for the command line, and has the last word (`accept`).
"""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from api.agents import definition as agents
from api.routes.errors import Invalid
from api.routes.problems import Fault
from api.routes.schema_components import BLANK
from api.routes.schemas.requests import Name
from api.session.document import Actor

_LongText = Annotated[str, Meta(max_length=agents.TEXT_BYTES_MAX)]
_SpokenText = Annotated[str, Meta(max_length=agents.TEXT_BYTES_MAX, pattern=BLANK)]

_CODES = {
    "required": "missing",
    "too_small": "out-of-range",
    "too_large": "out-of-range",
    "invalid_format": "malformed",
    "invalid_characters": "malformed",
}
"""Codes of the judge that have another word here; in all others only the dashes differ."""


class Greeting(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A greeting that the model makes up."""

    generate: Annotated[bool, Meta(extra_json_schema={"const": True})]
    """Always true: a fixed greeting is written as a plain string instead."""
    instructions: _LongText | None = None
    """Said to the model after the agent's instructions, for the greeting alone."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What one turn may take. Null leaves a limit to the installation or to the model."""

    context_tokens: (
        Annotated[int, Meta(ge=agents.CONTEXT_TOKENS_MIN, le=agents.CONTEXT_TOKENS_MAX)] | None
    ) = None
    """How much of the conversation the model is shown: the newest whole turns that fit."""
    output_tokens: Annotated[int, Meta(ge=agents.OUTPUT_TOKENS_MIN, le=agents.OUTPUT_TOKENS_MAX)] | None = (
        None
    )
    """The longest reply; a longer one is cut and marked as truncated."""
    turn_seconds: Annotated[float, Meta(ge=agents.TURN_SECONDS_MIN, le=agents.TURN_SECONDS_MAX)] | None = None
    """How long one turn may run before it fails."""


class Definition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The recipe of an agent. One published edition never changes; a newer version takes its place."""

    model: Annotated[
        str,
        Meta(max_length=agents.MODEL_CHARACTERS_MAX, pattern=r"^[a-z0-9][a-z0-9_-]{0,31}:[\x21-\x7e]+$"),
    ]
    """`provider:model`, as in `openai:gpt-5-mini` or `scripted:demo`."""
    instructions: _LongText = ""
    """What the model is told before everything else."""
    greeting: _SpokenText | Greeting | None = None
    """How the agent opens; null when the user speaks first."""
    speaker: Annotated[str, Meta(max_length=agents.SPEAKER_CHARACTERS_MAX, pattern=BLANK)] | None = None
    """The name under which the agent replies; `assistant` unless given."""
    limits: Limits = Limits()
    temperature: Annotated[float, Meta(ge=agents.TEMPERATURE_MIN, le=agents.TEMPERATURE_MAX)] | None = None
    """Null leaves it to the model."""


class CreateAgent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Make an agent; the definition becomes its version 1."""

    name: Name
    definition: Definition


class PublishVersion(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Publish a newer version of an agent. Sessions keep the version that they began with."""

    definition: Definition


class AgentView(msgspec.Struct, frozen=True, kw_only=True):
    """An agent."""

    id: str
    name: str
    latest_version: int
    created_at: datetime


class AgentPage(msgspec.Struct, frozen=True, kw_only=True):
    """Agents, newest first."""

    items: tuple[AgentView, ...]
    next_page_token: str | None
    """Null on the last page."""


class AgentVersionView(msgspec.Struct, frozen=True, kw_only=True):
    """One published version of an agent."""

    agent_id: str
    name: str
    version: int
    definition: Definition
    published_at: datetime
    published_by: Actor


class AgentVersionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Versions of an agent, newest first."""

    items: tuple[AgentVersionView, ...]
    next_page_token: str | None
    """Null on the last page."""


def accept(definition: Definition) -> agents.Definition:
    """Have the judge take a definition that came over the wire.

    Raises:
        Invalid: with every fault that the schema could not see, such as a text's size in bytes.
    """
    try:
        return agents.parse(msgspec.to_builtins(definition))
    except agents.DefinitionRefused as refused:
        raise Invalid(
            tuple(
                Fault(
                    pointer=f"/definition{fault.pointer}",
                    message=fault.message,
                    code=_CODES.get(fault.code, fault.code.replace("_", "-")),
                )
                for fault in refused.faults
            )
        ) from refused


def definition_view(definition: agents.Definition) -> Definition:
    """Show a definition as it was published."""
    return msgspec.convert(msgspec.to_builtins(definition), Definition)
