"""JSON Schemas within a definition: of a tool's arguments, and of a node's answer (draft 2020-12)."""

from collections.abc import Iterator
from typing import Any

import msgspec

from api.agents import bounds
from api.agents.checks import say, storable
from api.agents.faults import Fault, step

_MAPS = frozenset(("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"))
"""Keywords whose values are schemas by name."""
_LISTS = frozenset(("allOf", "anyOf", "oneOf", "prefixItems"))
_SINGLE = frozenset(
    (
        "additionalProperties",
        "contains",
        "contentSchema",
        "else",
        "if",
        "items",
        "not",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    )
)
_ELSEWHERE = frozenset(("$id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$vocabulary"))
"""Keywords that let a reference lead out of the schema, or be found by more than its place."""


def check_object_schema(value: Any, pointer: str, faults: list[Fault]) -> None:
    """Check a JSON Schema of an object: valid, small, and complete in itself."""
    if not isinstance(value, dict):
        say(faults, pointer, "wrong_type", "This must be a JSON Schema, an object.")
        return
    before = len(faults)
    storable(value, pointer, faults)
    if len(faults) > before:
        return
    if len(msgspec.json.encode(value)) > bounds.SCHEMA_BYTES_MAX:
        say(faults, pointer, "too_large", f"This must be at most {bounds.SCHEMA_BYTES_MAX} bytes of JSON.")
        return
    # Imported late: most of what this process does needs no schema, and the library is slow to load.
    from jsonschema import Draft202012Validator

    judge = Draft202012Validator(
        Draft202012Validator.META_SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    places = sorted(
        (pointer + "".join(step(each) for each in error.absolute_path), str(error.validator))
        for error in judge.iter_errors(value)
    )
    for place, keyword in places:
        say(faults, place, "invalid_schema", f"This is not valid in a JSON Schema (`{keyword}`).")
    if len(faults) > before:
        return
    if value.get("type") != "object":
        say(faults, f"{pointer}/type", "invalid_schema", 'The whole must be of `"type": "object"`.')
    targets = {place for _, place in _schemas(value, "#")}
    for schema, place in _schemas(value, pointer):
        for keyword in sorted(_ELSEWHERE & schema.keys()):
            message = "A schema here has no address of its own; refer by place, as in `#/$defs/name`."
            say(faults, place + step(keyword), "invalid_schema", message)
        if schema.get("$ref", "#") not in targets:
            message = "A reference must lead to a schema within this one, as in `#/$defs/name`."
            say(faults, f"{place}/$ref", "invalid_schema", message)


def _schemas(schema: Any, pointer: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Give a schema and all those within it, each with its pointer."""
    pending: list[tuple[Any, str]] = [(schema, pointer)]
    while pending:
        item, place = pending.pop()
        if not isinstance(item, dict):
            continue  # true and false are schemas too
        yield item, place
        for keyword, inner in item.items():
            below = place + step(keyword)
            if keyword in _SINGLE:
                pending.append((inner, below))
            elif keyword in _MAPS and isinstance(inner, dict):
                pending += [(each, below + step(name)) for name, each in inner.items()]
            elif keyword in _LISTS and isinstance(inner, list):
                pending += [(each, f"{below}/{index}") for index, each in enumerate(inner)]
