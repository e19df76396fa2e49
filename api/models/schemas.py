"""What is asked of a provider so that an answer is a JSON document of a schema.

Providers guarantee the form only for schemas of a narrow kind (`is_strict`), the same at OpenAI and at
Anthropic. Anything else is asked for in words; whoever reads the answer checks it in every case.
"""

from typing import Any

import msgspec

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


def is_strict(schema: dict[str, Any]) -> bool:
    """Providers can guarantee it: an object whose objects are closed and need every property, all through."""
    return schema.get("type") == "object" and _is_strict(schema, depth=0)


def in_words(schema: dict[str, Any]) -> str:
    """An instruction that asks for a document of the schema."""
    written = msgspec.json.encode(schema).decode()
    return f"Answer with one JSON document and nothing else. It must fit this JSON Schema:\n{written}"


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
