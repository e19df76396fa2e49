"""Whether a JSON value fits a schema that a user wrote.

Such a schema may neither fetch anything nor take the process's time: references lead only into the schema
itself and are followed a bounded number of times, and a pattern that takes too long is a fault.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import msgspec
import referencing
import regex
from jsonschema import Draft202012Validator, ValidationError, validators
from jsonschema.exceptions import SchemaError
from referencing.exceptions import Unresolvable

SCHEMA_BYTES_MAX = 128 * 1024

_FAULTS_MAX = 5
_FAULT_CHARACTERS_MAX = 300
_CACHED_MAX = 512
_REFERENCES_MAX = 10_000
_PATTERN_SECONDS_MAX = 0.05

_references_left: ContextVar[int] = ContextVar("references_left")


class SchemaRefused(Exception):
    """The schema cannot be used; the message completes "its schema "."""


class Schemas:
    """Compiled schemas, as many as were used lately."""

    def __init__(self) -> None:
        self._compiled: OrderedDict[bytes, Any] = OrderedDict()

    def compile(self, schema: Mapping[str, Any]) -> Any:
        """Make the validator of a schema, or take the one that was made.

        Raises:
            SchemaRefused: it is no JSON Schema of an object, too long, or uses what is not supported.
        """
        try:
            key = msgspec.json.encode(schema, order="deterministic")
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise SchemaRefused("is not JSON") from error
        compiled = self._compiled.get(key)
        if compiled is None:
            compiled = self._compiled[key] = _compiled(schema, len(key))
            if len(self._compiled) > _CACHED_MAX:
                self._compiled.popitem(last=False)
        else:
            self._compiled.move_to_end(key)
        return compiled

    def faults(self, schema: Mapping[str, Any], value: Any, *, whole: str = "the whole") -> list[str]:
        """Say where a JSON value does not fit, each fault with its place; empty when it fits.

        `whole` names the value itself where the fault is not within it.

        Raises:
            SchemaRefused: the schema cannot be used, or not within reasonable time.
        """
        validator = self.compile(schema)
        token = _references_left.set(_REFERENCES_MAX)
        try:
            found = []
            for error in validator.iter_errors(value):
                found.append(_told(error, whole))
                if len(found) == _FAULTS_MAX:
                    break
        except Unresolvable as error:
            raise SchemaRefused(f"refers to {error.ref!r}, which is not in it") from error
        except (_TooMuchWork, TimeoutError, RecursionError) as error:
            raise SchemaRefused("takes too long to check") from error
        finally:
            _references_left.reset(token)
        return found


class _TooMuchWork(Exception):
    """References were followed too often."""


def _compiled(schema: Mapping[str, Any], size_bytes: int) -> Any:
    if size_bytes > SCHEMA_BYTES_MAX:
        raise SchemaRefused(f"is longer than {SCHEMA_BYTES_MAX} bytes")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise SchemaRefused(f"is not valid: {error.message[:_FAULT_CHARACTERS_MAX]}") from error
    except RecursionError as error:
        raise SchemaRefused("is nested too deeply") from error
    if schema.get("type", "object") != "object":
        raise SchemaRefused("is not of an object")
    keywords = set(_keywords(schema))
    if {"patternProperties", "unevaluatedProperties"} <= keywords:
        raise SchemaRefused("uses `patternProperties` and `unevaluatedProperties` together")
    # A registry of its own, since the default one fetches what a reference names from the network.
    return _Validator(schema, registry=referencing.Registry())


def _keywords(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        for name, inner in schema.items():
            yield name
            yield from _keywords(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _keywords(inner)


def _told(error: ValidationError, whole: str) -> str:
    place = "".join(f"/{part}" for part in error.absolute_path) or whole
    message = error.message
    if len(message) > _FAULT_CHARACTERS_MAX:
        message = message[: _FAULT_CHARACTERS_MAX - 1] + "…"
    return f"{place}: {message}"


def _matches(pattern: str, text: str) -> bool:
    """Raises TimeoutError where the pattern takes too long."""
    try:
        return regex.search(pattern, text, timeout=_PATTERN_SECONDS_MAX) is not None
    except regex.error as error:
        raise SchemaRefused(f"has the pattern {pattern[:60]!r}, which cannot be read") from error


def _pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _matches(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, _: Any) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for pattern, schema in patterns.items():
            for name, value in instance.items():
                if _matches(pattern, name):
                    yield from validator.descend(value, schema, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, additional: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, value in instance.items():
        if name in known or any(_matches(pattern, name) for pattern in patterns):
            continue
        if additional is False:
            yield ValidationError(f"there is no field {name!r}; there are {', '.join(known) or 'none'}")
        else:
            yield from validator.descend(value, additional, path=name)


def _unique_items(_: Any, is_unique: Any, instance: Any, __: Any) -> Iterator[ValidationError]:
    if not is_unique or not isinstance(instance, list):
        return
    seen = set()
    for index, item in enumerate(instance):
        key = _key(item)
        if key in seen:
            yield ValidationError(f"the item at {index} is there twice", path=(index,))
            return
        seen.add(key)


def _key(value: Any) -> Any:
    """Stands for a value: the keys of equal values are equal. `1` and `1.0` are, `1` and `true` are not."""
    if isinstance(value, bool):
        return bool, value
    if isinstance(value, dict):
        return dict, frozenset((name, _key(inner)) for name, inner in value.items())
    if isinstance(value, list):
        return list, tuple(_key(inner) for inner in value)
    return value


def _counted(keyword: Any) -> Any:
    """The keyword, as long as it was not used too often in one check."""

    def follow(*given: Any) -> Any:
        left = _references_left.get(_REFERENCES_MAX)
        if left == 0:
            raise _TooMuchWork
        _references_left.set(left - 1)
        return keyword(*given)

    return follow


_Validator: Any = validators.extend(  # type: ignore[no-untyped-call]  # not typed in the stubs
    Draft202012Validator,
    {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        # The library's own compares every item with every other.
        "uniqueItems": _unique_items,
        "$ref": _counted(Draft202012Validator.VALIDATORS["$ref"]),
        "$dynamicRef": _counted(Draft202012Validator.VALIDATORS["$dynamicRef"]),
    },
)
