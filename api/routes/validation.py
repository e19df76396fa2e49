"""Is the input what the operation takes? Every fault is found at once, each with its JSON pointer and code.

Two passes: `_check_values` looks at every value of the body, whatever its place (characters and numbers that
cannot be stored, depth, repeated keys); then the struct is made, and only when that fails does the JSON
Schema of the same struct, the one that is published, name each fault. The codes:

    missing unknown-field unknown-parameter repeated wrong-type not-allowed exactly-one-of
    blank too-short too-long too-large too-deep out-of-range malformed nul-character lone-surrogate

and those of definitions: duplicate unknown-name unreachable invalid-template invalid-schema.
"""

import math
import typing
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Protocol, TypeVar, runtime_checkable

import msgspec

from api.routes.body import JSON, DuplicateKeys, check_media_type, parse_json
from api.routes.errors import Invalid
from api.routes.problems import Fault
from api.routes.schema_faults import escape, schema_faults

T = TypeVar("T", bound=msgspec.Struct)

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

FAULTS_MAX = 100
"""Faults that an answer names; who sent more has read enough."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How large the parts of a body may be, where its schema cannot say so."""

    text_bytes_max: int = 32 * 1024
    """Of a message's text, in UTF-8."""
    context_bytes_max: int = 16 * 1024
    """Of a session's context, as compact JSON."""
    metadata_bytes_max: int = 16 * 1024
    """Of a session's metadata, as compact JSON."""
    depth_max: int = 64
    """Of arrays and objects within each other."""


DEFAULT_LIMITS = Limits()


@runtime_checkable
class Judged(Protocol):
    """A struct of which more is asked than a schema can say."""

    @classmethod
    def judge(cls, value: dict[str, Any]) -> Iterable[Fault]:
        """Find what is wrong with a body, whatever else may be wrong with it."""
        ...


def decode_body(
    raw: bytes,
    struct: type[T],
    *,
    content_type: str | None,
    accepted: tuple[str, ...] = (JSON,),
    limits: Limits = DEFAULT_LIMITS,
) -> T:
    """Make a `struct` of the body, or say all that is wrong with it.

    An empty body, whatever its Content-Type, is read as `{}`: required fields are then `missing`.

    Raises:
        UnsupportedMediaType: a body in another form.
        MalformedJson: not JSON at all.
        Invalid: JSON, but not what the operation takes.
    """
    if not raw:
        return decode_value({}, struct, limits=limits)
    check_media_type(content_type, accepted=accepted)
    return decode_value(parse_json(raw), struct, limits=limits)


def decode_value(value: Any, struct: type[T], *, limits: Limits = DEFAULT_LIMITS) -> T:
    """Make a `struct` of parsed JSON, or say all that is wrong with it.

    Raises:
        Invalid: with every fault, up to `FAULTS_MAX`.
    """
    faults = list(_check_values(value, depth_max=limits.depth_max))
    if any(fault.code == "too-deep" for fault in faults):
        # What follows would walk as deep as the value goes.
        raise Invalid(tuple(faults[:FAULTS_MAX]))
    if isinstance(value, dict):
        faults += _check_sizes(value, struct, limits)
    judged = _judge(struct, value)
    faults += judged
    try:
        made = msgspec.convert(value, struct)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        # msgspec has no word for half of a surrogate pair where a number is due; `_check_values` has one.
        first = error if isinstance(error, msgspec.ValidationError) else None
        # The published schema has the usual limits; of sizes only `limits` decides.
        sized = {f"/{name}" for name in _limited_fields(struct)}
        # Of one place the judge's words are the better ones: they name more than the place.
        told = {fault.pointer for fault in judged}
        faults += (
            fault
            for fault in schema_faults(value, struct, first)
            if fault.pointer not in told and (fault.code != "too-long" or fault.pointer not in sized)
        )
    else:
        if not faults:
            return made
    raise Invalid(tuple(sorted(faults, key=lambda fault: (fault.pointer, fault.code))[:FAULTS_MAX]))


def check_text(text: str, pointer: str) -> Iterator[Fault]:
    """Find the characters that neither the database nor UTF-8 can hold."""
    if "\x00" in text:
        yield Fault(pointer=pointer, message="may not contain U+0000", code="nul-character")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        yield Fault(
            pointer=pointer, message="may not contain half of a surrogate pair", code="lone-surrogate"
        )


def _judge(struct: Any, value: Any) -> tuple[Fault, ...]:
    if not (isinstance(struct, Judged) and isinstance(value, dict)):
        return ()
    return tuple(struct.judge(value))


def _check_values(value: Any, *, depth_max: int) -> Iterator[Fault]:
    """Look at every value and key. Values too deep within others are not entered."""
    stack: list[tuple[Any, str, int]] = [(value, "", 0)]
    while stack:
        item, pointer, depth = stack.pop()
        if isinstance(item, str):
            yield from check_text(item, pointer)
        elif isinstance(item, dict | list):
            if depth >= depth_max:
                yield Fault(pointer=pointer, message=f"is nested deeper than {depth_max}", code="too-deep")
            elif isinstance(item, list):
                stack += ((inner, f"{pointer}/{index}", depth + 1) for index, inner in enumerate(item))
            else:
                yield from _check_keys(item, pointer)
                stack += ((inner, f"{pointer}/{escape(key)}", depth + 1) for key, inner in item.items())
        elif isinstance(item, float):
            if not math.isfinite(item):
                yield Fault(pointer=pointer, message="is not a finite number", code="out-of-range")
        elif isinstance(item, int) and not INT64_MIN <= item <= INT64_MAX:
            yield Fault(pointer=pointer, message="does not fit in 64 bits", code="out-of-range")


def _check_keys(item: dict[str, Any], pointer: str) -> Iterator[Fault]:
    for key in item:
        yield from check_text(key, f"{pointer}/{escape(key)}")
    if isinstance(item, DuplicateKeys):
        for name in item.names:
            yield Fault(
                pointer=f"{pointer}/{escape(name)}", message="is given more than once", code="repeated"
            )


def _check_sizes(value: dict[str, Any], struct: type[msgspec.Struct], limits: Limits) -> Iterator[Fault]:
    for name, limit in _limited_fields(struct).items():
        field = value.get(name)
        bytes_max: int = getattr(limits, limit)
        if isinstance(field, str):
            size = len(field.encode("utf-8", "surrogatepass"))
            if size > bytes_max:
                message = f"has {size} bytes of UTF-8; at most {bytes_max} are allowed"
                yield Fault(pointer=f"/{name}", message=message, code="too-long")
        elif isinstance(field, dict):
            yield from _check_size(field, f"/{name}", bytes_max)


def _check_size(value: dict[str, Any], pointer: str, bytes_max: int) -> Iterator[Fault]:
    try:
        size = len(msgspec.json.encode(value))
    except (UnicodeEncodeError, OverflowError):
        return  # `_check_values` has named what cannot be encoded
    if size > bytes_max:
        message = f"has {size} bytes as compact JSON; at most {bytes_max} are allowed"
        yield Fault(pointer=pointer, message=message, code="too-large")


@cache
def _limited_fields(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Name the top-level fields that are marked `Meta(extra={"limit": ...})` with a field of `Limits`."""
    hints = typing.get_type_hints(struct, include_extras=True)
    found = {}
    for field in msgspec.structs.fields(struct):
        for meta in _metas(hints[field.name]):
            if meta.extra and "limit" in meta.extra:
                found[field.encode_name] = meta.extra["limit"]
    return found


def _metas(hint: Any) -> Iterator[msgspec.Meta]:
    for metadata in getattr(hint, "__metadata__", ()):
        if isinstance(metadata, msgspec.Meta):
            yield metadata
    for inner in typing.get_args(hint):
        yield from _metas(inner)
