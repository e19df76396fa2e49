"""Query parameters: read into a struct, every fault at once, in the words of `validation`."""

import re
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode

import msgspec
from msgspec import inspect

from api.routes.errors import Invalid
from api.routes.problems import Fault
from api.routes.schema_faults import escape, schema_faults
from api.routes.validation import check_text

T = TypeVar("T", bound=msgspec.Struct)

_INTEGER = re.compile(r"-?[0-9]{1,19}")
_BOOLEANS = {"true": True, "false": False}


def parse_query(query: str | bytes, struct: type[T]) -> T:
    """Make a `struct` of the query string, or say all that is wrong with it.

    Integers are decimal digits, booleans `true` or `false`, instants RFC 3339 with an offset. An unknown
    parameter is refused, as is one given twice: both are mistakes that would otherwise go unseen.

    Raises:
        Invalid: the pointers are `?name`.
    """
    text = query.decode("latin-1") if isinstance(query, bytes) else query
    fields = _fields_of(struct)
    faults: list[Fault] = []
    values: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True, errors="replace"):
        pointer = f"?{escape(name)}"
        if name not in fields:
            faults.append(Fault(pointer=pointer, message="is not a parameter here", code="unknown-parameter"))
        elif name in values:
            faults.append(Fault(pointer=pointer, message="is given more than once", code="repeated"))
        else:
            faults += check_text(value, pointer)
            values[name] = _read(value, fields[name])
    try:
        made = msgspec.convert(values, struct)
    except msgspec.ValidationError as error:
        faults += (
            Fault(pointer=f"?{fault.pointer[1:]}", message=fault.message, code=fault.code)
            for fault in schema_faults(values, struct, error)
        )
    else:
        if not faults:
            return made
    raise Invalid(tuple(sorted(set(faults), key=lambda fault: (fault.pointer, fault.code))))


def take_parameter(query: bytes, name: str) -> tuple[str | None, bytes]:
    """Take one parameter out of a query string; answers its value, None when it is not there, and the rest.

    Raises:
        Invalid: it is given more than once, or cannot be read.
    """
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="replace")
    given = [value for key, value in pairs if key == name]
    if not given:
        return None, query
    faults = list(check_text(given[0], f"?{name}"))
    if len(given) > 1:
        faults.append(Fault(pointer=f"?{name}", message="is given more than once", code="repeated"))
    if faults:
        raise Invalid(tuple(faults))
    return given[0], urlencode([pair for pair in pairs if pair[0] != name]).encode()


def _read(text: str, kinds: tuple[type[inspect.Type], ...]) -> Any:
    """Read the text as the kind of its field; what is not of that kind stays text, and is found wrong."""
    if inspect.IntType in kinds and _INTEGER.fullmatch(text):
        return int(text)
    if inspect.BoolType in kinds:
        return _BOOLEANS.get(text, text)
    return text


def _fields_of(struct: type[msgspec.Struct]) -> dict[str, tuple[type[inspect.Type], ...]]:
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    return {field.encode_name: tuple(_kinds(field.type)) for field in info.fields}


def _kinds(info: inspect.Type) -> list[type[inspect.Type]]:
    if isinstance(info, inspect.Metadata):
        return _kinds(info.type)
    if isinstance(info, inspect.UnionType):
        return [kind for inner in info.types for kind in _kinds(inner)]
    return [type(info)]
