"""All faults of a value at once, found by the JSON Schema of the struct that it should have become.

msgspec stops at the first fault, so it only decides; here the published schema tells the caller the rest.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from api.routes.problems import Fault
from api.routes.schema_components import BLANK, REFERENCE, components

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

_CODES = {
    "type": "wrong-type",
    "enum": "not-allowed",
    "const": "not-allowed",
    "minLength": "too-short",
    "minItems": "too-short",
    "minProperties": "too-short",
    "maxLength": "too-long",
    "maxItems": "too-long",
    "maxProperties": "too-long",
    "minimum": "out-of-range",
    "maximum": "out-of-range",
    "exclusiveMinimum": "out-of-range",
    "exclusiveMaximum": "out-of-range",
    "multipleOf": "not-allowed",
    "pattern": "malformed",
    "format": "malformed",
    "oneOf": "exactly-one-of",
    "anyOf": "not-allowed",
}

_WORDS = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
}

_PLACE = re.compile(r" - at `(?:key in )?\$([^`]*)`\Z")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")

_STEP_CHARACTERS_MAX = 128


def schema_faults(
    value: Any, struct: type[msgspec.Struct], error: msgspec.ValidationError | None
) -> list[Fault]:
    """Find every fault of `value`, of which `error` is the first.

    Where the schema finds none, because the struct refuses what no schema can say, `error` is the fault; of
    None, which says nothing, there is then none.
    """
    found = (fault for each in _validator(struct).iter_errors(value) for fault in _explain(each))
    return list({(fault.pointer, fault.code): fault for fault in found}.values()) or (
        [] if error is None else [_translate(error)]
    )


@cache
def _validator(struct: type[msgspec.Struct]) -> "Draft202012Validator":
    # Imported late: most calls are valid, and the library takes a noticeable part of a start.
    from jsonschema import Draft202012Validator

    schemas = components((struct,))
    return Draft202012Validator(
        {"$ref": REFERENCE.format(name=struct.__name__), "components": {"schemas": schemas}}
    )


def escape(key: str) -> str:
    """Write `key` as one step of a JSON pointer (RFC 6901 3).

    A very long key is cut, and half a surrogate pair replaced: an answer must stay small and be encodable.
    """
    if len(key) > _STEP_CHARACTERS_MAX:
        key = f"{key[:_STEP_CHARACTERS_MAX]}..."
    return key.replace("~", "~0").replace("/", "~1").encode("utf-8", "replace").decode("utf-8")


def _explain(error: "ValidationError") -> Iterator[Fault]:
    instance: Any = error.instance
    expected: Any = error.validator_value
    schema: Any = error.schema
    pointer = "".join(f"/{escape(str(step))}" for step in error.absolute_path)
    if error.validator == "required":
        for name in expected:
            if name not in instance:
                yield Fault(pointer=f"{pointer}/{escape(name)}", message="is required", code="missing")
    elif error.validator == "additionalProperties":
        for name in sorted(instance.keys() - schema.get("properties", {}).keys()):
            message = "is not a field of this object"
            yield Fault(pointer=f"{pointer}/{escape(name)}", message=message, code="unknown-field")
    elif error.validator == "anyOf" and (meant := _branch_meant(error)):
        for inner in meant:
            yield from _explain(inner)
    elif error.validator == "anyOf" and (kinds := _kinds_wanted(error)):
        words = " or ".join(_WORDS[kind] for kind in kinds)
        yield Fault(pointer=pointer, message=f"must be {words}", code="wrong-type")
    else:
        code = _CODES.get(str(error.validator), "malformed")
        if error.validator == "pattern" and expected == BLANK:
            code = "blank"
        yield Fault(pointer=pointer, message=_sentence(error, code), code=code)


def _branch_meant(error: "ValidationError") -> list["ValidationError"]:
    """Choose the branch of an `anyOf` that was meant: the only one of the right type and tag, if any."""
    branches: dict[Any, list[ValidationError]] = {}
    for inner in error.context or ():
        branches.setdefault(inner.relative_schema_path[0], []).append(inner)
    meant = [
        errors for errors in branches.values() if not any(_is_of_another_kind(inner) for inner in errors)
    ]
    return meant[0] if len(meant) == 1 else []


def _kinds_wanted(error: "ValidationError") -> list[str]:
    """Name the JSON types of an `anyOf` when the value is of none of them; else nothing."""
    inner = error.context or ()
    if not all(each.validator == "type" and not each.relative_path for each in inner):
        return []
    return [str(each.validator_value) for each in inner]


def _is_of_another_kind(error: "ValidationError") -> bool:
    depth = len(error.relative_path)
    return (depth == 0 and error.validator == "type") or (depth == 1 and error.validator in {"const", "enum"})


def _sentence(error: "ValidationError", code: str) -> str:
    """Say what is expected. The value itself is never repeated."""
    expected: Any = error.validator_value
    match error.validator:
        case "type":
            types = [expected] if isinstance(expected, str) else expected
            return f"must be {' or '.join(_WORDS[name] for name in types)}"
        case "enum":
            return f"must be one of {', '.join(json.dumps(value) for value in expected)}"
        case "const":
            return f"must be {json.dumps(expected)}"
        case "minLength" | "minItems" | "minProperties":
            return f"has fewer than {expected} {_counted(error)}"
        case "maxLength" | "maxItems" | "maxProperties":
            return f"has more than {expected} {_counted(error)}"
        case "minimum":
            return f"must be at least {expected}"
        case "maximum":
            return f"must be at most {expected}"
        case "oneOf":
            names = [name for branch in expected for name in branch.get("required", ())]
            return f"must have exactly one of {', '.join(names)}"
        case _:
            return "is blank" if code == "blank" else "is not of the form that is asked for"


def _counted(error: "ValidationError") -> str:
    return {"Length": "characters", "Items": "items"}.get(str(error.validator)[3:], "fields")


def _translate(error: msgspec.ValidationError) -> Fault:
    text = str(error)
    place = _PLACE.search(text)
    steps = _STEP.findall(place[1]) if place else []
    message = (text[: place.start()] if place else text).replace("`", "")
    return Fault(
        pointer="".join(f"/{escape(name or index)}" for name, index in steps),
        message=message.encode("utf-8", "replace").decode("utf-8"),
        code="wrong-type" if ", got `" in text else "malformed",
    )
