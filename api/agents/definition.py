"""The recipe of an agent: model, instructions, greeting, nodes, tools, limits; read with every fault at once.

A definition without nodes is one node, called `START_NODE`, that is offered every tool.
"""

import hashlib
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from api.agents import bounds
from api.agents.faults import DefinitionRefused, Fault, in_words

__all__ = ["START_NODE", "Definition", "DefinitionRefused", "Fault", "digest", "parse"]

START_NODE = "start"
"""The node that every session begins in."""

SPEAKER_DEFAULT = "assistant"
"""Who speaks when the definition names nobody."""

ITERATIONS_DEFAULT = 8
HOPS_DEFAULT = 4
APPROVAL_SECONDS_DEFAULT = 7 * 24 * 3_600
TOOL_SECONDS_DEFAULT = 20


class Greeting(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A greeting that the model makes up; a fixed one is written as a plain string instead."""

    generate: bool
    """Always true: there is no other way to make a greeting."""
    instructions: str | None = None
    """Said to the model after the agent's instructions, for the greeting alone; None adds nothing."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What one turn may take. None leaves a limit to the installation's settings or to the model."""

    context_tokens: int | None = None
    """How much of the conversation the model is shown: the newest whole turns that fit."""
    output_tokens: int | None = None
    """The longest reply; a longer one is cut and marked as truncated."""
    turn_seconds: float | None = None
    """How long one turn may run before it fails."""
    iterations: int = ITERATIONS_DEFAULT
    """Model calls of one turn that may ask for tools; then one more is made without tools."""
    hops: int = HOPS_DEFAULT
    """Transitions in one turn; then none is offered any more."""
    approval_seconds: float = APPROVAL_SECONDS_DEFAULT
    """How long a person may take over an approval before it counts as denied."""
    idle_seconds: float | None = None
    """After this long without a commit an open session ends, as `inactive`; None never ends it."""


_NO_LIMITS = Limits()


class ToolEffect(StrEnum):
    """What a call does to the world, and so what may happen when nobody knows whether it was made."""

    READ = "read"
    """Nothing: it may be made again at will."""
    IDEMPOTENT = "idempotent"
    """Made again with the same key it does nothing more."""
    ONCE = "once"
    """It is never made again unless a person says so."""


class ApprovalMode(StrEnum):
    """Whether a person is asked before a tool is called."""

    NEVER = "never"
    ALWAYS = "always"
    POLICY = "policy"
    """The organization's rules decide; where none speaks, a person does."""


class HttpCall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A tool that is a request. Texts are templates: `arguments`, `context`, `variables` and `secrets`."""

    method: str
    """`GET`, `POST`, `PUT`, `PATCH` or `DELETE`."""
    url: str
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    body: Any = None
    """JSON whose strings are templates; a string that is one template alone becomes the value itself. None
    sends no body."""
    result: str | None = None
    """Where in the answer the result lies, as a JSON pointer; None is the whole answer."""


class McpCall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A tool of an MCP server that the operator has declared in the settings."""

    server: str
    tool: str


class Tool(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Something that the model may call; exactly one of `http`, `mcp` and `function` says what."""

    name: str
    description: str = ""
    """Empty: what the MCP server or the function says of itself."""
    parameters: dict[str, Any] | None = None
    """JSON Schema of the arguments, an object; None takes what the MCP server or the function says, and no
    arguments for `http`."""
    http: HttpCall | None = None
    mcp: McpCall | None = None
    function: str | None = None
    """The name under which the operator has registered a Python function."""
    effect: ToolEffect
    approval: ApprovalMode = ApprovalMode.NEVER
    timeout_seconds: float = TOOL_SECONDS_DEFAULT
    cost: Decimal | None = None
    """What one call is taken to cost, in USD, for the rules of `approval: policy`; None is unknown."""


class VariableType(StrEnum):
    """The JSON type of a variable's value."""

    STRING = "string"
    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"


class Variable(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Something to be learned from the conversation when a node is left."""

    name: str
    description: str = ""
    type: VariableType = VariableType.STRING
    values: tuple[str, ...] = ()
    """What a string may be; empty allows any."""


class Transition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A way out of a node: a tool without parameters that the model calls."""

    to: str
    """The node that it leads to."""
    label: str
    """The name of the tool."""
    condition: str
    """When the model should take it, in words."""
    says: str | None = None
    """A line that the agent speaks on the way; a template."""


class Effort(StrEnum):
    """How long a model thinks before it answers, where its provider has a word for it."""

    OFF = "off"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Node(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A step of the conversation with instructions, tools and ways out of its own."""

    name: str
    """Unique; the one called `START_NODE` is where every session begins."""
    instructions: str = ""
    """Said after those of the definition; a template over context and variables."""
    tools: tuple[str, ...] = ()
    """Names of tools of the definition."""
    transitions: tuple[Transition, ...] = ()
    extraction: tuple[Variable, ...] = ()
    """Learned when the node is left, by a model call of its own."""
    end: bool = False
    """Entering it brings one more answer and ends the session."""
    resolution: str | None = None
    """How a session that ends here has ended; None means the node's name. Only of an end node."""
    answer_schema: dict[str, Any] | None = None
    """JSON Schema that the answer's text must be a document of; None is free text."""
    reasoning: Effort | None = None
    """None leaves it to the model."""


class Definition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One published edition of an agent; it never changes, a newer version takes its place."""

    model: str
    """`provider:model`, as in `openai:gpt-5-mini` or `scripted:demo`."""
    instructions: str = ""
    greeting: str | Greeting | None = None
    """None: the user speaks first."""
    speaker: str | None = None
    """The name under which the agent replies; None means `SPEAKER_DEFAULT`."""
    limits: Limits = _NO_LIMITS
    temperature: float | None = None
    """None leaves it to the model."""
    tools: tuple[Tool, ...] = ()
    nodes: tuple[Node, ...] = ()
    """Empty: one node that is offered every tool."""

    def node(self, name: str) -> Node | None:
        """Find a node; None where there is none of this name."""
        if not self.nodes and name == START_NODE:
            return Node(name=START_NODE, tools=tuple(tool.name for tool in self.tools))
        return next((node for node in self.nodes if node.name == name), None)

    def tools_of(self, node: Node) -> tuple[Tool, ...]:
        """The tools that are offered in a node, in its order."""
        by_name = {tool.name: tool for tool in self.tools}
        return tuple(by_name[name] for name in node.tools)

    @property
    def speaker_name(self) -> str:
        """Who the replies are by."""
        return self.speaker or SPEAKER_DEFAULT


def parse(data: bytes | dict[str, Any]) -> Definition:
    """Read a definition from JSON, or from JSON already decoded.

    Raises:
        DefinitionRefused: with every fault, up to `bounds.FAULTS_MAX`: those of the fields in their order,
            then those of the whole.
    """
    # Imported late: the checks know the structs.
    from api.agents.fields import check_definition
    from api.agents.rules import check_rules

    value = _decode(data)
    faults: list[Fault] = []
    check_definition(value, faults)
    check_rules(value, faults)
    if faults:
        raise DefinitionRefused(tuple(in_words(value, fault) for fault in faults[: bounds.FAULTS_MAX]))
    definition: Definition = _with_defaults(msgspec.convert(value, Definition))
    if len(msgspec.json.encode(definition)) > bounds.DEFINITION_BYTES_MAX:
        raise _refused("too_large", f"This must be at most {bounds.DEFINITION_BYTES_MAX} bytes of JSON.")
    return definition


def digest(definition: Definition) -> str:
    """SHA-256 in hex of the definition's meaning: field order and spelled-out defaults do not count."""
    canonical = msgspec.json.encode(definition, order="sorted")
    return hashlib.sha256(canonical).hexdigest()


def _decode(data: bytes | dict[str, Any]) -> Any:
    value: Any = data
    if isinstance(data, bytes):
        # Nobody writes that much white space; checked before anything is made of it.
        if len(data) > 4 * bounds.DEFINITION_BYTES_MAX:
            raise _refused("too_large", f"This must be at most {bounds.DEFINITION_BYTES_MAX} bytes of JSON.")
        try:
            value = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise _refused("invalid_json", "This is not valid JSON.") from None
    if _is_too_deep(value):
        message = f"Arrays and objects must not be more than {bounds.DEPTH_MAX} within each other."
        raise _refused("too_deep", message)
    return value


def _refused(code: str, message: str) -> DefinitionRefused:
    return DefinitionRefused((Fault(pointer="", message=message, code=code),))


def _is_too_deep(value: Any) -> bool:
    pending = [(value, 1)]
    while pending:
        item, depth = pending.pop()
        if isinstance(item, dict | list | tuple):
            if depth > bounds.DEPTH_MAX:
                return True
            inner = item.values() if isinstance(item, dict) else item
            pending += [(each, depth + 1) for each in inner]
    return False


def _with_defaults(value: Any) -> Any:
    """Put the very defaults in place of what equals them, throughout.

    msgspec leaves a default out only when it is the same object, and `604800` read from JSON is another
    one; the digest relies on defaults being left out.
    """
    if isinstance(value, tuple):
        return tuple(_with_defaults(item) for item in value)
    if not isinstance(value, msgspec.Struct):
        return value
    changed: dict[str, Any] = {}
    for field in msgspec.structs.fields(value):
        given = getattr(value, field.name)
        made = _with_defaults(given)
        if made == field.default and type(made) in (type(field.default), float):
            made = field.default
        if made is not given:
            changed[field.name] = made
    return msgspec.structs.replace(value, **changed) if changed else value
