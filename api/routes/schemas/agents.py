"""Agents: what callers send to publish them, and what they get."""

from datetime import datetime
from typing import Any

import msgspec

from api.agents import definition as agents
from api.routes.errors import Invalid
from api.routes.problems import Fault
from api.routes.schemas.definitions import Definition
from api.routes.schemas.requests import Name
from api.session.document import Actor

_CODES = {
    "required": "missing",
    "too_small": "out-of-range",
    "too_large": "out-of-range",
    "invalid_format": "malformed",
    "invalid_characters": "malformed",
    "too_many": "too-long",
}
"""Codes of the judge that have another word here; in all others only the dashes differ."""


class CreateAgent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Make an agent; the definition becomes its version 1."""

    name: Name
    definition: Definition

    @classmethod
    def judge(cls, value: dict[str, Any]) -> tuple[Fault, ...]:
        """Name what is wrong with the definition."""
        return _judge_definition(value)


class PublishVersion(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Publish a newer version of an agent. Sessions keep the version that they began with."""

    definition: Definition

    @classmethod
    def judge(cls, value: dict[str, Any]) -> tuple[Fault, ...]:
        """Name what is wrong with the definition."""
        return _judge_definition(value)


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
        Invalid: with every fault.
    """
    try:
        return agents.parse(msgspec.to_builtins(definition))
    except agents.DefinitionRefused as refused:
        raise Invalid(_on_the_wire(refused, prefix="/definition")) from refused


def _on_the_wire(refused: agents.DefinitionRefused, *, prefix: str = "") -> tuple[Fault, ...]:
    return tuple(
        Fault(
            pointer=f"{prefix}{fault.pointer}",
            message=fault.message,
            code=_CODES.get(fault.code, fault.code.replace("_", "-")),
        )
        for fault in refused.faults
    )


def _judge_definition(value: dict[str, Any]) -> tuple[Fault, ...]:
    """Name what the judge finds in the `definition` of a body; nothing where there is none."""
    definition = value.get("definition")
    if not isinstance(definition, dict):
        return ()
    try:
        agents.parse(definition)
    except agents.DefinitionRefused as refused:
        return _on_the_wire(refused, prefix="/definition")
    return ()
