"""Agents: what callers send to publish them, and what they get."""

from datetime import datetime
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from api.agents import bounds
from api.agents import definition as agents
from api.routes.errors import Invalid
from api.routes.etags import REVISION_MAX
from api.routes.problems import Fault
from api.routes.schemas.definitions import Definition
from api.routes.schemas.requests import Name, Revision
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
    """Publish a newer version of an agent: a definition, or the draft. Sessions keep their version."""

    schema_extra: ClassVar[dict[str, Any]] = {
        "oneOf": [{"required": ["definition"]}, {"required": ["draft_revision"]}]
    }

    definition: Definition | UnsetType = UNSET
    draft_revision: Revision | UnsetType = UNSET
    """Publishes the draft as it stands at this revision; afterwards there is no draft."""

    def __post_init__(self) -> None:
        """Refuse both and neither; `schema_extra` says the same to the caller."""
        if (self.definition is UNSET) == (self.draft_revision is UNSET):
            raise ValueError("exactly one of definition and draft_revision is needed")

    @classmethod
    def judge(cls, value: dict[str, Any]) -> tuple[Fault, ...]:
        """Name what is wrong with the definition."""
        return _judge_definition(value)


class PutDraft(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Write the draft of an agent. It may have faults; they are told, and stand in the way of publishing."""

    definition: dict[str, Any]
    """At most 224 KiB as compact JSON."""
    expected_revision: Annotated[int, Meta(ge=0, le=REVISION_MAX)] | None = None
    """The revision of the draft that the caller has seen, where `If-Match` does not say it; 0: none."""

    @classmethod
    def judge(cls, value: dict[str, Any]) -> tuple[Fault, ...]:
        """Name a definition that is too large even for a draft."""
        try:
            size = len(msgspec.json.encode(value.get("definition")))
        except (UnicodeEncodeError, OverflowError):
            return ()  # what cannot be encoded is named where values are looked at
        if size <= bounds.DEFINITION_BYTES_MAX:
            return ()
        message = f"has {size} bytes as compact JSON; at most {bounds.DEFINITION_BYTES_MAX} are allowed"
        return (Fault(pointer="/definition", message=message, code="too-large"),)


class ValidateDefinition(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Ask what is wrong with a definition."""

    definition: dict[str, Any]


class DefinitionFaults(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a definition."""

    faults: tuple[Fault, ...]
    """Each with a pointer into the definition; empty when it can be published."""


class DraftView(msgspec.Struct, frozen=True, kw_only=True):
    """The draft of an agent: what will be its next version once it is published."""

    agent_id: str
    revision: int
    """Rises with every change, also over drafts that were published or discarded."""
    base_version: int
    """The newest version when the draft was begun."""
    definition: dict[str, Any]
    """As it was written."""
    faults: tuple[Fault, ...]
    """What stands in the way of publishing it, each with a pointer into the definition."""
    updated_at: datetime
    updated_by: Actor


class DiffQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """With which version to compare."""

    to: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    """A published version of the same agent."""


class DifferenceView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One place at which two versions differ; what stands on one side only is left out on the other."""

    pointer: str
    """A JSON pointer; nodes, tools, transitions and variables are in it by name, not by index."""
    before: Any = UNSET
    after: Any = UNSET


class VersionDiff(msgspec.Struct, frozen=True, kw_only=True):
    """What is different between two versions of an agent."""

    agent_id: str
    version: int
    to: int
    changes: tuple[DifferenceView, ...]


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
        raise Invalid(wire_faults(refused, prefix="/definition")) from refused


def faults_of(definition: dict[str, Any]) -> tuple[Fault, ...]:
    """Name what the judge finds, with pointers into the definition."""
    try:
        agents.parse(definition)
    except agents.DefinitionRefused as refused:
        return wire_faults(refused)
    return ()


def wire_faults(refused: agents.DefinitionRefused, *, prefix: str = "") -> tuple[Fault, ...]:
    """Write the judge's faults as they are written here."""
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
    return tuple(
        msgspec.structs.replace(fault, pointer=f"/definition{fault.pointer}")
        for fault in faults_of(definition)
    )
