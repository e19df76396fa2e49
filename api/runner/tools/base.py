"""The seam between a turn and the tools it calls: what is offered, what is asked, what comes back."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

import msgspec

from api.agents.definition import Tool
from api.models.base import ToolSpec


class MissingTool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that cannot be offered now."""

    name: str
    reason: str
    """A sentence for people: the server does not answer, the function is not registered."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What the model may call, in the order of the definition."""

    specs: tuple[ToolSpec, ...]
    missing: tuple[MissingTool, ...] = ()


class Invocation(msgspec.Struct, frozen=True, kw_only=True):
    """One call that is about to be made; its arguments have passed `Toolbox.check`."""

    organization_id: UUID
    tool: Tool
    arguments: dict[str, Any]
    idempotency_key: str
    """`turn/step`: the same for every repetition of this call, and for no other call."""
    context: dict[str, Any]
    variables: dict[str, Any]


class ToolOutcome(StrEnum):
    """How a call ended, as far as we can tell."""

    COMPLETED = "completed"
    FAILED = "failed"
    """It answered that it could not, or was never made."""
    UNKNOWN = "unknown"
    """It was begun and did not answer: nobody knows whether it has had its effect."""


class ToolResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the model is told of a call."""

    outcome: ToolOutcome
    content: str
    """Text or JSON, cut to the size cap; of a failure, a sentence that the model can act on."""


class ArgumentsRefused(Exception):
    """The model's arguments do not fit the tool; the message is a sentence for the model."""


class Toolbox(Protocol):
    """All tools of this installation. Safe to share between tasks."""

    async def offer(self, organization_id: UUID, tools: Sequence[Tool]) -> Offer:
        """Find out what can be called, within a limit of time; what cannot be is told, not raised."""
        ...

    def check(self, spec: ToolSpec, arguments: str) -> dict[str, Any]:
        """Read the model's arguments and hold them against the tool's schema.

        Raises:
            ArgumentsRefused: they are not JSON, or do not fit.
        """
        ...

    async def call(self, invocation: Invocation) -> ToolResult:
        """Make the call within the tool's timeout. Whatever goes wrong is a result."""
        ...

    async def close(self) -> None:
        """Release connections and server processes."""
        ...


class _NoTools:
    """A toolbox for runners of agents without tools."""

    async def offer(self, organization_id: UUID, tools: Sequence[Tool]) -> Offer:
        reason = "this process has no tools."
        return Offer(specs=(), missing=tuple(MissingTool(name=tool.name, reason=reason) for tool in tools))

    def check(self, spec: ToolSpec, arguments: str) -> dict[str, Any]:
        raise ArgumentsRefused(f"There is no tool called `{spec.name}` here.")

    async def call(self, invocation: Invocation) -> ToolResult:
        content = f"There is no tool called `{invocation.tool.name}` here."
        return ToolResult(outcome=ToolOutcome.FAILED, content=content)

    async def close(self) -> None:
        """There is nothing to release."""


NO_TOOLS: Toolbox = _NoTools()
