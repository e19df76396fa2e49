"""Definitions as JSON, to change in one place and hold against the judge."""

import copy
from typing import Any

import pytest

from api.agents.definition import DefinitionRefused, parse

HTTP_TOOL: dict[str, Any] = {
    "name": "book",
    "description": "Books a slot.",
    "parameters": {"type": "object", "properties": {"slot": {"type": "string"}}, "required": ["slot"]},
    "http": {
        "method": "POST",
        "url": "https://clinic.example/slots/{{arguments.slot}}",
        "headers": {"Authorization": "Bearer {{secrets.clinic}}"},
        "query": {"client": "{{context.client_id}}"},
        "body": {"name": "{{variables.name}}", "slots": ["{{arguments.slot}}"]},
        "result": "/data",
    },
    "effect": "idempotent",
    "approval": "policy",
    "timeout_seconds": 5,
    "cost": "0.05",
}

NODES: dict[str, Any] = {
    "model": "scripted:demo",
    "instructions": "You greet {{customer.name | the caller}}.",
    "greeting": "Hello {{customer.name | there}}.",
    "limits": {"iterations": 3, "hops": 2, "approval_seconds": 60},
    "tools": [
        HTTP_TOOL,
        {"name": "search", "mcp": {"server": "records", "tool": "search.people"}, "effect": "read"},
        {"name": "refund", "function": "billing.refund", "effect": "once", "approval": "always"},
    ],
    "nodes": [
        {
            "name": "start",
            "tools": ["search"],
            "transitions": [
                {
                    "to": "booking",
                    "label": "go_booking",
                    "condition": "The caller wants a slot.",
                    "says": "One moment, {{name}}.",
                },
                {"to": "done", "label": "leave", "condition": "The caller wants nothing."},
            ],
            "extraction": [
                {"name": "name", "description": "What the caller is called."},
                {"name": "mood", "values": ["good", "bad"]},
                {"name": "age", "type": "integer"},
            ],
        },
        {
            "name": "booking",
            "instructions": "Find a slot.",
            "tools": ["book", "refund"],
            "transitions": [{"to": "start", "label": "back", "condition": "Something else."}],
            "answer_schema": {"type": "object"},
            "reasoning": "low",
        },
        {"name": "done", "instructions": "Say goodbye.", "end": True, "resolution": "served"},
    ],
}


def changed(pointer: str, value: Any = ..., *, recipe: dict[str, Any] = NODES) -> dict[str, Any]:
    """The recipe with another value at one place; without a value, the place is taken away."""
    made = copy.deepcopy(recipe)
    *steps, last = pointer.split("/")[1:]
    inner: Any = made
    for step in steps:
        inner = inner[int(step)] if isinstance(inner, list) else inner[step]
    key: Any = int(last) if isinstance(inner, list) else last
    if value is ...:
        del inner[key]
    elif isinstance(inner, list) and key == len(inner):
        inner.append(value)
    else:
        inner[key] = value
    return made


def faults_of(definition: Any) -> list[tuple[str, str]]:
    """Where and what is wrong with a definition."""
    with pytest.raises(DefinitionRefused) as caught:
        parse(definition)
    return [(fault.pointer, fault.code) for fault in caught.value.faults]


def message_of(definition: Any) -> str:
    """What is said of a definition with one fault."""
    with pytest.raises(DefinitionRefused) as caught:
        parse(definition)
    (fault,) = caught.value.faults
    return fault.message
