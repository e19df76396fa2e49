"""JSON Schemas as providers take them: of answers, and of tools' arguments.

Providers guarantee the form of an answer only for schemas of a narrow kind (`is_strict`), nearly the same at
OpenAI and at Anthropic. Anything else is asked for in words, and so is what a provider refuses all the same;
whoever reads the answer checks it in every case. So are arguments, therefore a tool's schema may be sent with
the parts that providers refuse moved into its description.
"""

import hashlib
from typing import Any

import msgspec

from api.models.base import ModelRequest, ToolSpec

_STRICT_KEYWORDS = frozenset(
    {
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "enum",
        "const",
        "anyOf",
        "$ref",
        "$defs",
        "title",
        "description",
    }
)

_DEPTH_MAX = 5
"""OpenAI refuses deeper ones."""

_REFUSED_AT_THE_ROOT = ("anyOf", "oneOf", "allOf", "not", "enum", "const", "if", "then", "else")

_REFUSED_MAX = 1_000
"""Schemas that a client remembers; with more it begins anew."""


def is_strict(schema: dict[str, Any]) -> bool:
    """Providers can guarantee it: an object whose objects are closed and need every property, all through."""
    return schema.get("type") == "object" and _is_strict(schema, depth=0)


def in_words(schema: dict[str, Any]) -> str:
    """An instruction that asks for a document of the schema."""
    written = msgspec.json.encode(schema).decode()
    return f"Answer with one JSON document and nothing else. It must fit this JSON Schema:\n{written}"


def union_count(schema: object) -> int:
    """How many parts of a schema allow several types; Anthropic takes 16."""
    if isinstance(schema, list):
        return sum(union_count(part) for part in schema)
    if not isinstance(schema, dict):
        return 0
    is_union = "anyOf" in schema or isinstance(schema.get("type"), list)
    return is_union + sum(union_count(part) for part in schema.values())


def as_sent(tool: ToolSpec) -> ToolSpec:
    """The tool with parameters that every provider takes: an object with properties, and nothing beside.

    Providers refuse all tools for one whose root has alternatives, as those of MCP servers sometimes have.
    """
    beside = {word: tool.parameters[word] for word in _REFUSED_AT_THE_ROOT if word in tool.parameters}
    kept = {word: value for word, value in tool.parameters.items() if word not in beside}
    description = tool.description
    if beside:
        written = msgspec.json.encode(beside).decode()
        description = f"{description}\nThe arguments must also fit this JSON Schema: {written}".lstrip()
    return ToolSpec(
        name=tool.name, description=description, parameters={"properties": {}, **kept, "type": "object"}
    )


class RefusedSchemas:
    """The schemas of answers that a provider did not take from us, by model."""

    def __init__(self) -> None:
        self._digests: set[bytes] = set()

    def add(self, request: ModelRequest) -> None:
        """Remember that the schema of this request was refused."""
        if len(self._digests) >= _REFUSED_MAX:
            self._digests.clear()
        self._digests.add(_digest(request))

    def __contains__(self, request: ModelRequest) -> bool:
        return request.answer_schema is not None and _digest(request) in self._digests


def _digest(request: ModelRequest) -> bytes:
    asked = msgspec.json.encode((request.model, request.answer_schema), order="sorted")
    return hashlib.sha256(asked).digest()


def _is_strict(schema: object, *, depth: int) -> bool:
    if not isinstance(schema, dict) or depth > _DEPTH_MAX or not schema.keys() <= _STRICT_KEYWORDS:
        return False
    properties = schema.get("properties", {})
    is_object = schema.get("type") == "object" or "properties" in schema
    if is_object:
        is_closed = schema.get("additionalProperties") is False
        if not is_closed or not isinstance(properties, dict):
            return False
        if sorted(schema.get("required", ())) != sorted(properties):
            return False
    inner = [*properties.values(), *schema.get("anyOf", ()), *schema.get("$defs", {}).values()]
    if "items" in schema:
        inner.append(schema["items"])
    return all(_is_strict(part, depth=depth + 1) for part in inner)
