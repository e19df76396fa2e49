"""What a definition looks like on the wire, with the bounds that a schema can state.

`api.agents.definition` is the judge of what it means, also for the command line, and has the last word.
"""

from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from api.agents import bounds
from api.agents import definition as agents
from api.agents.definition import ApprovalMode, Effort, ToolEffect, VariableType
from api.routes.schema_components import BLANK

_LongText = Annotated[str, Meta(max_length=bounds.TEXT_BYTES_MAX)]
_SpokenText = Annotated[str, Meta(max_length=bounds.TEXT_BYTES_MAX, pattern=BLANK)]
_Line = Annotated[str, Meta(max_length=bounds.LINE_BYTES_MAX)]
_SpokenLine = Annotated[str, Meta(max_length=bounds.LINE_BYTES_MAX, pattern=BLANK)]
_Name = Annotated[str, Meta(max_length=bounds.NAME_CHARACTERS_MAX, pattern=f"^{bounds.NAME}$")]
_Identifier = Annotated[str, Meta(max_length=bounds.NAME_CHARACTERS_MAX, pattern=f"^{bounds.IDENTIFIER}$")]
_ForeignName = Annotated[
    str, Meta(max_length=bounds.FOREIGN_NAME_CHARACTERS_MAX, pattern=f"^{bounds.FOREIGN_NAME}$")
]
_JsonSchema = Annotated[dict[str, Any], Meta(description="JSON Schema (draft 2020-12).")]
_Entries = Annotated[dict[str, _Line], Meta(max_length=bounds.FIELDS_MAX)]


class Greeting(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A greeting that the model makes up."""

    generate: Annotated[bool, Meta(extra_json_schema={"const": True})]
    """Always true: a fixed greeting is written as a plain string instead."""
    instructions: _LongText | None = None
    """Said to the model after the agent's instructions, for the greeting alone; a template."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What one turn may take. Null leaves a limit to the installation or to the model."""

    context_tokens: (
        Annotated[int, Meta(ge=bounds.CONTEXT_TOKENS_MIN, le=bounds.CONTEXT_TOKENS_MAX)] | None
    ) = None
    """How much of the conversation the model is shown: the newest whole turns that fit."""
    output_tokens: Annotated[int, Meta(ge=bounds.OUTPUT_TOKENS_MIN, le=bounds.OUTPUT_TOKENS_MAX)] | None = (
        None
    )
    """The longest reply; a longer one is cut and marked as truncated."""
    turn_seconds: Annotated[float, Meta(ge=bounds.TURN_SECONDS_MIN, le=bounds.TURN_SECONDS_MAX)] | None = None
    """How long one turn may run before it fails."""
    iterations: Annotated[int, Meta(ge=bounds.ITERATIONS_MIN, le=bounds.ITERATIONS_MAX)] = (
        agents.ITERATIONS_DEFAULT
    )
    """Model calls of one turn that may ask for tools; then one more is made without tools."""
    hops: Annotated[int, Meta(ge=bounds.HOPS_MIN, le=bounds.HOPS_MAX)] = agents.HOPS_DEFAULT
    """Transitions in one turn; then none is offered any more."""
    approval_seconds: Annotated[
        float, Meta(ge=bounds.APPROVAL_SECONDS_MIN, le=bounds.APPROVAL_SECONDS_MAX)
    ] = agents.APPROVAL_SECONDS_DEFAULT
    """How long a person may take over an approval before it counts as denied."""
    idle_seconds: Annotated[float, Meta(ge=bounds.IDLE_SECONDS_MIN, le=bounds.IDLE_SECONDS_MAX)] | None = None
    """After this long without a commit an open session ends, as `inactive`; null never ends it."""


class HttpCall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A tool that is a request. Its texts are templates: `arguments context variables secrets`."""

    method: Annotated[str, Meta(extra_json_schema={"enum": list(bounds.HTTP_METHODS)})]
    url: Annotated[str, Meta(max_length=bounds.URL_BYTES_MAX, pattern=BLANK)]
    """Its host may come from `context` or `secrets`, never from what the model has said."""
    headers: _Entries = {}
    query: _Entries = {}
    body: Any = None
    """JSON whose strings are templates; a string that is one place alone becomes the value itself. Null
    sends no body."""
    result: Annotated[str, Meta(max_length=128, pattern=f"^{bounds.JSON_POINTER}$")] | None = None
    """Where in the answer the result lies, as a JSON pointer; null is the whole answer."""


class McpCall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A tool of an MCP server that the operator has declared in the settings."""

    server: _ForeignName
    tool: _ForeignName


class Tool(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Something that the model may call; exactly one of `http`, `mcp` and `function` says what."""

    name: _Name
    description: _Line = ""
    """Empty: what the MCP server or the function says of itself."""
    parameters: _JsonSchema | None = None
    """JSON Schema of the arguments, an object; null takes what the MCP server or the function says, and no
    arguments for `http`."""
    http: HttpCall | None = None
    mcp: McpCall | None = None
    function: _ForeignName | None = None
    """The name under which the operator has registered a Python function."""
    effect: ToolEffect
    """What a call does to the world, and so whether it may be made again when nobody knows how it ended."""
    approval: ApprovalMode = ApprovalMode.NEVER
    """Whether a person is asked first; with `policy` the organization's rules decide."""
    timeout_seconds: Annotated[float, Meta(ge=bounds.TOOL_SECONDS_MIN, le=bounds.TOOL_SECONDS_MAX)] = (
        agents.TOOL_SECONDS_DEFAULT
    )
    cost: Decimal | None = None
    """What one call is taken to cost, in USD, for the rules of `approval: policy`; null is unknown."""


class Variable(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Something to be learned from the conversation when a node is left."""

    name: _Identifier
    description: _Line = ""
    type: VariableType = VariableType.STRING
    values: Annotated[
        tuple[Annotated[str, Meta(max_length=bounds.VALUE_CHARACTERS_MAX, pattern=BLANK)], ...],
        Meta(max_length=bounds.VALUES_MAX),
    ] = ()
    """What a string may be; empty allows any."""


class Transition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A way out of a node: a tool without parameters that the model calls."""

    to: _Name
    """The node that it leads to."""
    label: _Name
    """The name of the tool; unique among the tools and transitions of its node."""
    condition: _SpokenLine
    """When the model should take it, in words."""
    says: _SpokenLine | None = None
    """A line that the agent speaks on the way; a template."""


class Node(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A step of the conversation with instructions, tools and ways out of its own."""

    name: _Name
    """Unique; the one called `start` is where every session begins."""
    instructions: _LongText = ""
    """Said after those of the definition; a template over context and variables."""
    tools: Annotated[tuple[_Name, ...], Meta(max_length=bounds.TOOLS_MAX)] = ()
    """Names of tools of the definition."""
    transitions: Annotated[tuple[Transition, ...], Meta(max_length=bounds.TRANSITIONS_MAX)] = ()
    extraction: Annotated[tuple[Variable, ...], Meta(max_length=bounds.VARIABLES_MAX)] = ()
    """Learned when the node is left, by a model call of its own."""
    end: bool = False
    """Entering it brings one more answer and ends the session."""
    resolution: Annotated[str, Meta(max_length=bounds.RESOLUTION_CHARACTERS_MAX, pattern=BLANK)] | None = None
    """How a session that ends here has ended; null means the node's name. Only of an end node."""
    answer_schema: _JsonSchema | None = None
    """JSON Schema that the answer's text must be a document of; null is free text."""
    reasoning: Effort | None = None
    """How long the model thinks; null leaves it to the model."""


class Definition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The recipe of an agent. One published edition never changes; a newer version takes its place."""

    model: Annotated[str, Meta(max_length=bounds.MODEL_CHARACTERS_MAX, pattern=f"^{bounds.MODEL}$")]
    """`provider:model`, as in `openai:gpt-5-mini` or `scripted:demo`."""
    instructions: _LongText = ""
    """What the model is told before everything else; a template over context and variables."""
    greeting: _SpokenText | Greeting | None = None
    """How the agent opens; null when the user speaks first. A fixed one is a template."""
    speaker: Annotated[str, Meta(max_length=bounds.SPEAKER_CHARACTERS_MAX, pattern=BLANK)] | None = None
    """The name under which the agent replies; `assistant` unless given."""
    limits: Limits = Limits()
    temperature: Annotated[float, Meta(ge=bounds.TEMPERATURE_MIN, le=bounds.TEMPERATURE_MAX)] | None = None
    """Null leaves it to the model."""
    tools: Annotated[tuple[Tool, ...], Meta(max_length=bounds.TOOLS_MAX)] = ()
    """All that can be called in any node."""
    nodes: Annotated[tuple[Node, ...], Meta(max_length=bounds.NODES_MAX)] = ()
    """Empty: one node, called `start`, that is offered every tool."""


def definition_view(definition: agents.Definition) -> Definition:
    """Show a definition as it was published."""
    return msgspec.convert(msgspec.to_builtins(definition), Definition)
