"""A recorded model call, rendered again from what its step keeps by reference, and checked by its digest.

The step says which turns and which steps of its own turn the prompt was made of; the definition's version,
the context, and the node and variables before the turn are as they were. Only the tools that were offered can
have changed since, so those are kept.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from api.agents import templates
from api.agents.definition import Definition
from api.models.base import ModelRequest, ToolSpec
from api.prompt import frame, progress, window
from api.prompt.progress import EXTRACTION, Recorded
from api.session.document import Turn, TurnState


class ToolsOffered(msgspec.Struct, frozen=True, kw_only=True):
    """The tools of a call, by reference."""

    names: tuple[str, ...]
    sha256: str
    """Of their specs as JSON, in hex."""


class Reference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The stored request of a model step: what it takes to render its prompt again."""

    instructions_sha256: str
    first_turn_id: str
    """The oldest turn that was shown; the step's own turn when it was shown alone."""
    last_turn_id: str
    """The step's own turn."""
    sha256: str
    """Of the request's canonical JSON, in hex."""
    node: str | None = None
    """Where the agent was; None in calls recorded before agents had nodes."""
    step_ids: tuple[str, ...] = ()
    """The steps of the turn that had been made, in order."""
    tools: ToolsOffered | None = None
    """None: none were offered."""


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """What stood when the call was made."""

    definition: Definition
    turn: Turn
    """The step's own turn, as it is now."""
    earlier: tuple[Turn, ...]
    """The turns before it, newest first, at least down to the oldest that was shown."""
    context: dict[str, Any]
    node: str
    """Before the turn."""
    variables: dict[str, Any]
    """Before the turn."""
    steps: tuple[Recorded, ...]
    """Those of `Reference.step_ids`, in order."""
    tools: tuple[ToolSpec, ...] | None
    """None when those that were offered are not kept."""


class ToolSource(msgspec.Struct, frozen=True, kw_only=True):
    """Where a tool that was offered comes from."""

    name: str
    source: str
    """`http`, `mcp:` or `function:` with its name in the settings, or `transition`."""


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """What a prompt was made of."""

    turn_ids: tuple[str, ...]
    """The turns that were shown, oldest first, the step's own last."""
    step_ids: tuple[str, ...]
    context_fields: tuple[str, ...]
    """Dotted paths of the context that its templates read."""
    variables: tuple[str, ...]
    """Dotted paths of the variables that its templates read."""
    unfilled: tuple[str, ...]
    """Paths that its templates name and that nothing stood under."""
    tools: tuple[ToolSource, ...]


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt as it renders now."""

    request: ModelRequest
    sources: Sources
    difference: str | None
    """Why it is not what was sent; None when it is, to the digest."""


def reference(prompt: window.Prompt, of_call: frame.Frame, steps: Sequence[Recorded]) -> Reference:
    """What is stored of a call that is about to be made with these steps of its turn behind it."""
    tools = prompt.request.tools
    return Reference(
        instructions_sha256=_sha256(prompt.request.instructions.encode()),
        first_turn_id=prompt.first_turn_id,
        last_turn_id=prompt.last_turn_id,
        sha256=prompt.sha256,
        node=of_call.node,
        step_ids=tuple(step.id for step in steps),
        tools=ToolsOffered(names=tuple(tool.name for tool in tools), sha256=_sha256(tools_part(tools)))
        if tools
        else None,
    )


def tools_part(tools: Sequence[ToolSpec]) -> bytes:
    """Tools as they are kept."""
    return msgspec.json.encode(tools, order="sorted")


def read_tools(part: bytes) -> tuple[ToolSpec, ...]:
    """Read tools as they were kept."""
    return msgspec.json.decode(part, type=tuple[ToolSpec, ...])


def render(recorded: Reference, past: Past, *, purpose: str, model: str) -> Again:
    """Render a prompt again. `model` is the provider's name of it.

    Raises:
        RenderedTooLong: a template renders longer now than it may.
    """
    stood = progress.replay(
        past.definition,
        node=past.node,
        variables=past.variables,
        steps=past.steps,
        approvals=past.turn.approvals,
    )
    tools = past.tools or ()
    if purpose == EXTRACTION:
        of_call = frame.of_extraction(stood.node, messages=stood.settled_messages())
        texts: list[str] = []
    else:
        of_call = frame.of_reply(
            past.definition,
            stood.node,
            past.turn,
            context=past.context,
            variables=stood.variables,
            messages=stood.messages,
            tools=tools,
        )
        texts = frame.templates_of_reply(past.definition, stood.node, past.turn)
    shown = tuple(_shown(recorded, past))
    prompt = window.build(past.definition, past.turn, shown, frame=of_call, model=model, context_tokens=None)
    return Again(
        request=prompt.request,
        sources=_sources(recorded, past, shown, texts, variables=stood.variables),
        difference=_difference(recorded, prompt, is_without_tools=past.tools is None),
    )


def _shown(recorded: Reference, past: Past) -> Iterator[Turn]:
    """The earlier turns that the prompt reached back to, newest first."""
    if recorded.first_turn_id == past.turn.id:
        return
    for turn in past.earlier:
        yield turn
        if turn.id == recorded.first_turn_id:
            return


def _difference(recorded: Reference, prompt: window.Prompt, *, is_without_tools: bool) -> str | None:
    if prompt.sha256 == recorded.sha256:
        return None
    if is_without_tools:
        return "The tools that were offered are not kept, so they are missing here."
    if prompt.first_turn_id != recorded.first_turn_id:
        return "The turns that were shown are not all there, so the conversation is not what was sent."
    if _sha256(prompt.request.instructions.encode()) != recorded.instructions_sha256:
        return "The instructions render differently now: this is not the text that was sent."
    return "The instructions are those that were sent, but messages, tools or options render differently now."


def _sources(
    recorded: Reference,
    past: Past,
    shown: Sequence[Turn],
    texts: Iterable[str],
    *,
    variables: Mapping[str, Any],
) -> Sources:
    kept = [turn.id for turn in shown if turn.state in (TurnState.COMPLETED, TurnState.CANCELLED)]
    read: dict[str, list[str]] = {"context": [], "variables": [], "": []}
    for text in texts:
        for place in templates.read(text).placeholders:
            origin, path = _origin(place.path, past.context, variables)
            if path not in read[origin]:
                read[origin].append(path)
    return Sources(
        turn_ids=(*reversed(kept), past.turn.id),
        step_ids=recorded.step_ids,
        context_fields=tuple(read["context"]),
        variables=tuple(read["variables"]),
        unfilled=tuple(read[""]),
        tools=_tool_sources(past.definition, () if recorded.tools is None else recorded.tools.names),
    )


def _origin(
    path: tuple[str, ...], context: Mapping[str, Any], variables: Mapping[str, Any]
) -> tuple[str, str]:
    """Which of the two a template's path reads, and the path within it; see `templates.scope`."""
    name, *inner = path
    if name in ("context", "variables") and inner:
        values = context if name == "context" else variables
        return (name if inner[0] in values else "", ".".join(inner if inner[0] in values else path))
    if name in variables:
        return "variables", ".".join(path)
    return ("context" if name in context else ""), ".".join(path)


def _tool_sources(definition: Definition, names: Iterable[str]) -> tuple[ToolSource, ...]:
    declared = {tool.name: tool for tool in definition.tools}
    found = []
    for name in names:
        tool = declared.get(name)
        if tool is None:
            source = "transition"
        elif tool.mcp is not None:
            source = f"mcp:{tool.mcp.server}"
        elif tool.function is not None:
            source = f"function:{tool.function}"
        else:
            source = "http"
        found.append(ToolSource(name=name, source=source))
    return tuple(found)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
