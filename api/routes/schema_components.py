"""JSON Schema (2020-12) of the wire structs: what is validated and what is published is one thing.

msgspec writes the schemas; what it cannot say is added here:
- `T | None` as a type array, with `null` among the values of an enum;
- the sentence under a field as its description, read from the source;
- instants (`at`, `..._at`) as `date-time`;
- what a struct's `schema_extra` says of the whole object (`oneOf`).
"""

import ast
import inspect
import textwrap
from collections.abc import Iterable
from functools import cache
from typing import Any, ClassVar, Protocol, runtime_checkable

import msgspec

REFERENCE = "#/components/schemas/{name}"

BLANK = r"\S"
"""The pattern of a text that may not be blank."""


@runtime_checkable
class SchemaExtra(Protocol):
    """A struct that says more of itself than its fields do; its `__post_init__` enforces the same."""

    schema_extra: ClassVar[dict[str, Any]]


def components(types: Iterable[Any]) -> dict[str, dict[str, Any]]:
    """Write the schemas of `types` and of all that they are made of, by name, in order of name."""
    types = tuple(types)
    _, schemas = msgspec.json.schema_components(types, ref_template=REFERENCE)
    structs = structs_within(types)
    finished = {}
    for name in sorted(schemas):
        schema = _tidy(schemas[name])
        struct = structs.get(name)
        if struct is not None:
            _describe(schema, struct)
        finished[name] = schema
    return finished


@cache
def inline(hint: Any) -> dict[str, Any]:
    """Write the schema of one type where it stands; structs become references.

    Whoever asks for the same type gets the same object, which is not to be changed.
    """
    (schema,), _ = msgspec.json.schema_components((hint,), ref_template=REFERENCE)
    tidied: dict[str, Any] = _tidy(schema)
    return tidied


def structs_within(types: tuple[Any, ...]) -> dict[str, Any]:
    """Find the struct of every component, by the name that msgspec gives it."""
    found: dict[str, Any] = {}
    seen: set[int] = set()
    pending: list[Any] = [msgspec.inspect.type_info(hint) for hint in types]
    while pending:
        info = pending.pop()
        if isinstance(info, tuple | list):
            pending += info
        elif isinstance(info, msgspec.inspect.Type | msgspec.inspect.Field) and id(info) not in seen:
            seen.add(id(info))
            if isinstance(info, msgspec.inspect.StructType):
                found[info.cls.__name__] = info.cls
            pending += [getattr(info, name) for name in info.__struct_fields__]
    return found


def _tidy(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    tidied = {key: _tidy(value) for key, value in schema.items()}
    if "enum" in tidied and "type" not in tidied and all(isinstance(value, str) for value in tidied["enum"]):
        tidied["type"] = "string"
    match tidied.get("anyOf"):
        case [{"type": str(kind)} as typed, {"type": "null"}]:
            del tidied["anyOf"]
            tidied = {**typed, **tidied, "type": [kind, "null"]}
            if "enum" in tidied:
                tidied["enum"] = [*tidied["enum"], None]
    # A default of null says no more than that the field may be left out, and invites generators to send it.
    if "default" in tidied and tidied["default"] is None:
        del tidied["default"]
    return tidied


def _describe(schema: dict[str, Any], struct: Any) -> None:
    schema.pop("title", None)
    if not schema.get("required", True):
        del schema["required"]
    sentences = _sentences(struct)
    attributes = {field.encode_name: field.name for field in msgspec.structs.fields(struct)}
    for name, field in schema.get("properties", {}).items():
        sentence = sentences.get(attributes[name])
        if sentence and "$ref" not in field:
            field["description"] = " ".join(filter(None, (sentence, field.get("description"))))
        if (name == "at" or name.endswith("_at")) and "string" in field.get("type", ()):
            field["format"] = "date-time"
    if isinstance(struct, SchemaExtra):
        schema.update(struct.schema_extra)


@cache
def _sentences(struct: type[Any]) -> dict[str, str]:
    """Read the sentence under each field of `struct` and of the structs that it extends."""
    found: dict[str, str] = {}
    for cls in reversed(struct.__mro__):
        if cls in (object, msgspec.Struct) or not issubclass(cls, msgspec.Struct):
            continue
        try:
            (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        except (OSError, TypeError):
            continue  # made at run time: there is no source to read
        assert isinstance(definition, ast.ClassDef)
        for field, below in zip(definition.body, definition.body[1:], strict=False):
            match field, below:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(sentence))),
                ):
                    found[name] = " ".join(sentence.split())
    return found
