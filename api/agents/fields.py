"""Every field of a definition and what it takes; what holds between fields is in `api.agents.rules`."""

from typing import Any

from api.agents import bounds, checks
from api.agents.checks import Check, say
from api.agents.definition import ApprovalMode, Effort, ToolEffect, VariableType
from api.agents.faults import Fault
from api.agents.http_texts import check_body, check_http_text, check_url
from api.agents.json_schemas import check_object_schema


def check_definition(value: Any, faults: list[Fault]) -> None:
    """Look at every field of a definition, whatever its place."""
    _DEFINITION(value, "", faults)


def _check_greeting(value: Any, pointer: str, faults: list[Fault]) -> None:
    if isinstance(value, str):
        _SPOKEN(value, pointer, faults)
    elif isinstance(value, dict):
        _GENERATED_GREETING(value, pointer, faults)
    else:
        say(faults, pointer, "wrong_type", 'This must be a string, or an object like {"generate": true}.')


def _check_generate(value: Any, pointer: str, faults: list[Fault]) -> None:
    if value is not True:
        say(faults, pointer, "wrong_type", "This must be true; leave the greeting out to have none.")


def _check_identifier(value: Any, pointer: str, faults: list[Fault]) -> None:
    before = len(faults)
    _IDENTIFIER(value, pointer, faults)
    if len(faults) == before and value in bounds.RESERVED_NAMES:
        say(faults, pointer, "not_allowed", f"`{value}` has a meaning of its own in templates.")


def _check_field_name(value: Any, pointer: str, faults: list[Fault]) -> None:
    _HEADERS(value, pointer, faults)
    if isinstance(value, dict):
        for name in value:
            if name.lower() in bounds.FORBIDDEN_FIELDS:
                message = "This header field is set by whoever makes the request."
                say(faults, f"{pointer}/{name}", "not_allowed", message)


_NAME_MESSAGE = (
    f"This must be 1 to {bounds.NAME_CHARACTERS_MAX} letters of the English alphabet, digits, `_` or `-`."
)

_TEXT = checks.text()
_SPOKEN = checks.template(checks.text(may_be_blank=False))
_INSTRUCTIONS = checks.template(_TEXT)
_LINE = checks.text(bytes_max=bounds.LINE_BYTES_MAX)
_NAME = checks.form(bounds.NAME, _NAME_MESSAGE)
_FOREIGN_NAME = checks.form(
    bounds.FOREIGN_NAME,
    f"This must be 1 to {bounds.FOREIGN_NAME_CHARACTERS_MAX} letters, digits or characters of `_ . / : -`.",
)
_IDENTIFIER = checks.form(
    bounds.IDENTIFIER,
    f"This must be at most {bounds.NAME_CHARACTERS_MAX} letters, digits and `_`, and not begin with a digit.",
)
_HTTP_LINE = check_http_text(checks.text(bytes_max=bounds.LINE_BYTES_MAX, one_line=True))
_HEADERS = checks.entries(
    names=bounds.FIELD_NAME,
    names_message="This is no name of a header field.",
    values=_HTTP_LINE,
    count_max=bounds.FIELDS_MAX,
)

_GENERATED_GREETING = checks.fields(
    {"generate": _check_generate, "instructions": checks.optional(_INSTRUCTIONS)}, required=("generate",)
)

_LIMITS = checks.fields(
    {
        "context_tokens": checks.optional(
            checks.number(bounds.CONTEXT_TOKENS_MIN, bounds.CONTEXT_TOKENS_MAX, whole=True)
        ),
        "output_tokens": checks.optional(
            checks.number(bounds.OUTPUT_TOKENS_MIN, bounds.OUTPUT_TOKENS_MAX, whole=True)
        ),
        "turn_seconds": checks.optional(checks.number(bounds.TURN_SECONDS_MIN, bounds.TURN_SECONDS_MAX)),
        "iterations": checks.number(bounds.ITERATIONS_MIN, bounds.ITERATIONS_MAX, whole=True),
        "hops": checks.number(bounds.HOPS_MIN, bounds.HOPS_MAX, whole=True),
        "approval_seconds": checks.number(bounds.APPROVAL_SECONDS_MIN, bounds.APPROVAL_SECONDS_MAX),
        "idle_seconds": checks.optional(checks.number(bounds.IDLE_SECONDS_MIN, bounds.IDLE_SECONDS_MAX)),
    }
)

_HTTP = checks.fields(
    {
        "method": checks.one_of(bounds.HTTP_METHODS),
        "url": check_url,
        "headers": _check_field_name,
        "query": checks.entries(
            names=r"[^\x00-\x1f\x7f]{1,128}",
            names_message="This must be 1 to 128 characters without control characters.",
            values=check_http_text(checks.text(bytes_max=bounds.LINE_BYTES_MAX)),
            count_max=bounds.FIELDS_MAX,
        ),
        "body": check_body,
        "result": checks.optional(
            checks.form(bounds.JSON_POINTER, "This must be a JSON pointer, as in `/data/items`.")
        ),
    },
    required=("method", "url"),
)

_MCP = checks.fields({"server": _FOREIGN_NAME, "tool": _FOREIGN_NAME}, required=("server", "tool"))

_TOOL = checks.fields(
    {
        "name": _NAME,
        "description": _LINE,
        "parameters": checks.optional(check_object_schema),
        "http": checks.optional(_HTTP),
        "mcp": checks.optional(_MCP),
        "function": checks.optional(_FOREIGN_NAME),
        "effect": checks.one_of(tuple(ToolEffect)),
        "approval": checks.one_of(tuple(ApprovalMode)),
        "timeout_seconds": checks.number(bounds.TOOL_SECONDS_MIN, bounds.TOOL_SECONDS_MAX),
        "cost": checks.optional(
            checks.form(bounds.COST, 'This must be an amount of USD as a string, as in `"0.05"`.')
        ),
    },
    required=("name", "effect"),
)

_VARIABLE = checks.fields(
    {
        "name": _check_identifier,
        "description": _LINE,
        "type": checks.one_of(tuple(VariableType)),
        "values": checks.items(checks.line(bounds.VALUE_CHARACTERS_MAX), count_max=bounds.VALUES_MAX),
    },
    required=("name",),
)

_TRANSITION = checks.fields(
    {
        "to": _NAME,
        "label": _NAME,
        "condition": checks.text(bytes_max=bounds.LINE_BYTES_MAX, may_be_blank=False),
        "says": checks.optional(
            checks.template(checks.text(bytes_max=bounds.LINE_BYTES_MAX, may_be_blank=False))
        ),
    },
    required=("to", "label", "condition"),
)

_NODE = checks.fields(
    {
        "name": _NAME,
        "instructions": _INSTRUCTIONS,
        "tools": checks.items(_NAME, count_max=bounds.TOOLS_MAX),
        "transitions": checks.items(_TRANSITION, count_max=bounds.TRANSITIONS_MAX),
        "extraction": checks.items(_VARIABLE, count_max=bounds.VARIABLES_MAX),
        "end": checks.boolean,
        "resolution": checks.optional(checks.line(bounds.RESOLUTION_CHARACTERS_MAX)),
        "answer_schema": checks.optional(check_object_schema),
        "reasoning": checks.optional(checks.one_of(tuple(Effort))),
    },
    required=("name",),
)

_DEFINITION: Check = checks.fields(
    {
        "model": checks.form(
            bounds.MODEL,
            "This must be `provider:model`, as in `openai:gpt-5-mini` or `scripted:demo`.",
            characters_max=bounds.MODEL_CHARACTERS_MAX,
        ),
        "instructions": _INSTRUCTIONS,
        "greeting": checks.optional(_check_greeting),
        "speaker": checks.optional(checks.line(bounds.SPEAKER_CHARACTERS_MAX)),
        "limits": _LIMITS,
        "temperature": checks.optional(checks.number(bounds.TEMPERATURE_MIN, bounds.TEMPERATURE_MAX)),
        "tools": checks.items(_TOOL, count_max=bounds.TOOLS_MAX),
        "nodes": checks.items(_NODE, count_max=bounds.NODES_MAX),
    },
    required=("model",),
)
