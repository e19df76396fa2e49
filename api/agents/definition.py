"""The recipe of an agent: model, instructions, greeting, nodes, tools, limits; read with every fault at once.

A definition without nodes is one node, called `START_NODE`, that is offered every tool.
"""

import hashlib
import math
import re
from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

START_NODE = "start"
"""The node that every session begins in."""

SPEAKER_DEFAULT = "assistant"
"""Who speaks when the definition names nobody."""

TEXT_BYTES_MAX = 32 * 1024
MODEL_CHARACTERS_MAX = 200
SPEAKER_CHARACTERS_MAX = 64
CONTEXT_TOKENS_MIN, CONTEXT_TOKENS_MAX = 256, 10_000_000
OUTPUT_TOKENS_MIN, OUTPUT_TOKENS_MAX = 1, 1_000_000
TURN_SECONDS_MIN, TURN_SECONDS_MAX = 1, 3_600
TEMPERATURE_MIN, TEMPERATURE_MAX = 0, 2
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


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a definition."""

    pointer: str
    """Where, as a JSON pointer into the definition (RFC 6901); the empty string is the whole of it."""
    message: str
    code: str
    """`invalid_json required unknown_field wrong_type blank too_long too_small too_large invalid_characters
    invalid_format`."""


class DefinitionRefused(Exception):
    """The definition has faults; all of them are told."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(f"{fault.pointer or '/'}: {fault.message}" for fault in faults))
        self.faults = faults


def parse(data: bytes | dict[str, Any]) -> Definition:
    """Read a definition from JSON, or from JSON already decoded.

    Raises:
        DefinitionRefused: with every fault, in the order of the fields.
    """
    value: Any = data
    if isinstance(data, bytes):
        try:
            value = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            fault = Fault(pointer="", message="This is not valid JSON.", code="invalid_json")
            raise DefinitionRefused((fault,)) from None
    faults: list[Fault] = []
    _check_object(value, "", _FIELDS, faults, required=("model",))
    if faults:
        raise DefinitionRefused(tuple(faults))
    definition = msgspec.convert(value, Definition)
    if definition.limits == _NO_LIMITS:
        # msgspec leaves a default out only when it is the very same object; the digest relies on that.
        definition = msgspec.structs.replace(definition, limits=_NO_LIMITS)
    return definition


def digest(definition: Definition) -> str:
    """SHA-256 in hex of the definition's meaning: field order and spelled-out defaults do not count."""
    canonical = msgspec.json.encode(definition, order="sorted")
    return hashlib.sha256(canonical).hexdigest()


_Check = Callable[[Any, str, list[Fault]], None]

_MODEL = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}:[\x21-\x7e]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NOT_STORABLE = re.compile(r"[\x00\ud800-\udfff]")


def _check_object(
    value: Any,
    pointer: str,
    fields: dict[str, _Check],
    faults: list[Fault],
    *,
    required: tuple[str, ...] = (),
) -> None:
    if not isinstance(value, dict):
        faults.append(Fault(pointer=pointer, message="This must be an object.", code="wrong_type"))
        return
    faults.extend(
        Fault(pointer=f"{pointer}/{name}", message="This is required.", code="required")
        for name in required
        if name not in value
    )
    for name, check in fields.items():
        if name in value:
            check(value[name], f"{pointer}/{name}", faults)
    for name in value:
        if name not in fields:
            escaped = str(name).replace("~", "~0").replace("/", "~1")
            message = f"There is no such field; there are {', '.join(fields)}."
            faults.append(Fault(pointer=f"{pointer}/{escaped}", message=message, code="unknown_field"))


def _check_text(value: Any, pointer: str, faults: list[Fault], *, may_be_blank: bool = True) -> None:
    if not isinstance(value, str):
        faults.append(Fault(pointer=pointer, message="This must be a string.", code="wrong_type"))
    elif _NOT_STORABLE.search(value):
        message = "This must contain neither U+0000 nor lone surrogates."
        faults.append(Fault(pointer=pointer, message=message, code="invalid_characters"))
    elif len(value.encode()) > TEXT_BYTES_MAX:
        message = f"This must be at most {TEXT_BYTES_MAX} bytes of UTF-8."
        faults.append(Fault(pointer=pointer, message=message, code="too_long"))
    elif not may_be_blank and not value.strip():
        faults.append(Fault(pointer=pointer, message="This must not be blank.", code="blank"))


def _check_model(value: Any, pointer: str, faults: list[Fault]) -> None:
    before = len(faults)
    _check_text(value, pointer, faults)
    if len(faults) > before:
        return
    if len(value) > MODEL_CHARACTERS_MAX:
        message = f"This must be at most {MODEL_CHARACTERS_MAX} characters."
        faults.append(Fault(pointer=pointer, message=message, code="too_long"))
    elif not _MODEL.fullmatch(value):
        message = "This must be `provider:model`, as in `openai:gpt-5-mini` or `scripted:demo`."
        faults.append(Fault(pointer=pointer, message=message, code="invalid_format"))


def _check_greeting(value: Any, pointer: str, faults: list[Fault]) -> None:
    if value is None:
        return
    if isinstance(value, str):
        _check_text(value, pointer, faults, may_be_blank=False)
    elif isinstance(value, dict):
        _check_object(value, pointer, _GREETING_FIELDS, faults, required=("generate",))
    else:
        message = 'This must be a string, or an object like {"generate": true}.'
        faults.append(Fault(pointer=pointer, message=message, code="wrong_type"))


def _check_generate(value: Any, pointer: str, faults: list[Fault]) -> None:
    if value is not True:
        message = "This must be true; leave the greeting out to have none."
        faults.append(Fault(pointer=pointer, message=message, code="wrong_type"))


def _check_speaker(value: Any, pointer: str, faults: list[Fault]) -> None:
    before = len(faults)
    if value is None:
        return
    _check_text(value, pointer, faults, may_be_blank=False)
    if len(faults) > before:
        return
    if len(value) > SPEAKER_CHARACTERS_MAX:
        message = f"This must be at most {SPEAKER_CHARACTERS_MAX} characters."
        faults.append(Fault(pointer=pointer, message=message, code="too_long"))
    elif _CONTROL.search(value):
        message = "A name must be one line without control characters."
        faults.append(Fault(pointer=pointer, message=message, code="invalid_characters"))


def _number_check(low: float, high: float, *, whole: bool = False) -> _Check:
    """A check for None or a number in low..high."""
    noun = "a whole number" if whole else "a number"

    def check(value: Any, pointer: str, faults: list[Fault]) -> None:
        if value is None:
            return
        message = f"This must be {noun} from {low} to {high}."
        is_whole = isinstance(value, int) and not isinstance(value, bool)  # a bool is an int to Python
        is_fraction = isinstance(value, float) and math.isfinite(value)
        if not is_whole and (whole or not is_fraction):
            faults.append(Fault(pointer=pointer, message=message, code="wrong_type"))
        elif value < low:
            faults.append(Fault(pointer=pointer, message=message, code="too_small"))
        elif value > high:
            faults.append(Fault(pointer=pointer, message=message, code="too_large"))

    return check


def _optional_text(value: Any, pointer: str, faults: list[Fault]) -> None:
    if value is not None:
        _check_text(value, pointer, faults)


def _check_limits(value: Any, pointer: str, faults: list[Fault]) -> None:
    _check_object(value, pointer, _LIMIT_FIELDS, faults)


_GREETING_FIELDS: dict[str, _Check] = {"generate": _check_generate, "instructions": _optional_text}

_LIMIT_FIELDS: dict[str, _Check] = {
    "context_tokens": _number_check(CONTEXT_TOKENS_MIN, CONTEXT_TOKENS_MAX, whole=True),
    "output_tokens": _number_check(OUTPUT_TOKENS_MIN, OUTPUT_TOKENS_MAX, whole=True),
    "turn_seconds": _number_check(TURN_SECONDS_MIN, TURN_SECONDS_MAX),
}

_FIELDS: dict[str, _Check] = {
    "model": _check_model,
    "instructions": _check_text,
    "greeting": _check_greeting,
    "speaker": _check_speaker,
    "limits": _check_limits,
    "temperature": _number_check(TEMPERATURE_MIN, TEMPERATURE_MAX),
}
