"""Makes a JSON document of a schema, always the same one: the scripted model's answer when asked for JSON."""

from collections.abc import Mapping
from typing import Any

_DEPTH_MAX = 8
"""Behind it only what a schema needs is filled, so that one that contains itself comes to an end."""

_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "ada@example.org",
    "uri": "https://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
}


def fitting(schema: Mapping[str, Any], facts: Mapping[str, str]) -> Any:
    """A document that fits.

    `facts` are taken for properties of their name (`favourite_colour` is the `favourite colour`); what is not
    told is null where it may be, else made up. Patterns are not understood.
    """
    return _Maker(schema, facts).make(schema, name="", depth=0)


def misfitting(schema: Mapping[str, Any]) -> Any:
    """A document of a type, or a value, that the schema does not allow.

    Raises:
        ValueError: every document fits.
    """
    root = _resolved(schema, schema)
    allowed_types = _types(root)
    values = [root["const"]] if "const" in root else root.get("enum")
    for type_, document in (("object", {}), ("string", "misfit"), ("array", []), ("null", None)):
        if (values and document not in values) or (allowed_types and type_ not in allowed_types):
            return document
    raise ValueError("Every document fits this schema.")


class _Maker:
    def __init__(self, root: Mapping[str, Any], facts: Mapping[str, str]) -> None:
        self._root = root
        self._facts = facts

    def make(self, schema: object, *, name: str, depth: int) -> Any:
        if not isinstance(schema, dict):
            return self._fact(name) or "text"  # the schema `true` allows anything
        schema = _resolved(schema, self._root)
        if "const" in schema:
            return schema["const"]
        told = self._fact(name)
        choices = schema.get("enum", ())
        if told is not None and (meant := [c for c in choices if str(c).lower() == told.lower()]):
            return meant[0]
        if "null" in _types(schema) and (told is None or choices) and None in (choices or (None,)):
            return None  # whoever allows it asks for no guess
        if choices:
            return choices[0]
        for word in ("anyOf", "oneOf"):
            if alternatives := schema.get(word):
                return self.make(alternatives[0], name=name, depth=depth + 1)
        return self._of_type(schema, name=name, depth=depth)

    def _of_type(self, schema: dict[str, Any], *, name: str, depth: int) -> Any:
        type_ = _likely_type(schema)
        if type_ == "object":
            return self._object(schema, depth)
        if type_ == "array":
            count = schema.get("minItems", 0 if depth > _DEPTH_MAX else 1)
            item = schema.get("items", {})
            return [self.make(item, name=name, depth=depth + 1) for _ in range(count)]
        if type_ in ("integer", "number"):
            return self._number(schema, name)
        if type_ == "boolean":
            return (self._fact(name) or "true").lower() not in ("false", "no")
        if type_ == "null":
            return None
        text = self._fact(name) or _FORMATS.get(schema.get("format", ""), "text")
        return text.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        names = (
            required if depth > _DEPTH_MAX else [*properties, *(n for n in required if n not in properties)]
        )
        return {name: self.make(properties.get(name, True), name=name, depth=depth + 1) for name in names}

    def _number(self, schema: dict[str, Any], name: str) -> int | float:
        step = schema.get("multipleOf", 1)
        bounds = [schema[word] for word in _BOUNDS if word in schema]
        told = self._fact(name) or ""
        guesses: list[float] = [int(told)] if told.removeprefix("-").isdecimal() else []
        guesses += [step, *(n for bound in bounds for n in _near(bound, step)), *bounds]
        return next((guess for guess in guesses if _is_within(guess, schema)), step)

    def _fact(self, name: str) -> str | None:
        return self._facts.get(name.replace("_", " ").lower())


_BOUNDS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")


def _near(bound: float, step: float) -> list[float]:
    """The multiples of `step` around a bound, the nearest ones first."""
    below = bound // step * step
    return [below, below + step, below - step]


def _is_within(number: float, schema: Mapping[str, Any]) -> bool:
    return (
        number >= schema.get("minimum", number)
        and number <= schema.get("maximum", number)
        and number != schema.get("exclusiveMinimum")
        and number >= schema.get("exclusiveMinimum", number)
        and number != schema.get("exclusiveMaximum")
        and number <= schema.get("exclusiveMaximum", number)
    )


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    """Follow a reference within the schema, and join the parts of `allOf`."""
    found = dict(schema)
    for _ in range(_DEPTH_MAX):
        if "$ref" in found:
            target: Any = root
            for part in str(found.pop("$ref")).removeprefix("#").split("/")[1:]:
                target = target.get(part, {}) if isinstance(target, Mapping) else {}
            found = {**(target if isinstance(target, Mapping) else {}), **found}
        elif "allOf" in found:
            for part in found.pop("allOf"):
                found = _merged(found, _resolved(part, root))
        else:
            break
    return found


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    properties = {**one.get("properties", {}), **other.get("properties", {})}
    required = [*one.get("required", []), *other.get("required", [])]
    return {**one, **other, "properties": properties, "required": list(dict.fromkeys(required))}


def _types(schema: Mapping[str, Any]) -> list[str]:
    """That the schema allows, by what it says at its root; empty when it says nothing."""
    named = schema.get("type")
    if named is not None:
        return [named] if isinstance(named, str) else named
    inner = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    return [type_ for part in inner if isinstance(part, dict) for type_ in _types(part)]


def _likely_type(schema: Mapping[str, Any]) -> str:
    if types := _types(schema):
        return types[0]
    if "properties" in schema or "required" in schema:
        return "object"
    return "array" if "items" in schema else "string"
