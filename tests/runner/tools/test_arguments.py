"""What a model writes as arguments, read within bounds and held against a schema."""

import time
from typing import Any

import pytest

from api.agents.fitting import SchemaRefused, Schemas
from api.runner.tools.arguments import ARGUMENTS_BYTES_MAX, read_arguments
from api.runner.tools.base import ArgumentsRefused

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "pattern": "^[A-Z]"},
        "days": {"type": "integer", "minimum": 1},
        "places": {"type": "array", "items": {"$ref": "#/$defs/place"}},
    },
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"place": {"type": "object", "properties": {"lat": {"type": "number"}}}},
}


def test_no_text_means_no_arguments() -> None:
    assert read_arguments("") == read_arguments("  \n") == read_arguments("{}") == {}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "nonsense",
        "[]",
        '"x"',
        "null",
        '{"a": NaN}',
        '{"a": "\\u0000"}',
        '{"\\u0000": 1}',
        '{"a": "\\ud800"}',
        '{"a": "\ud800"}',
        '{"a": 123456789012345678901234567890}',
        '{"a": ' + "[" * 50 + "]" * 50 + "}",
        "[" * 100_000,
        '{"a": "' + "x" * ARGUMENTS_BYTES_MAX + '"}',
    ],
)
def test_what_is_no_object_within_bounds_is_refused(text: str) -> None:
    with pytest.raises(ArgumentsRefused):
        read_arguments(text)


def test_what_fits_has_no_faults() -> None:
    assert Schemas().faults(SCHEMA, {"city": "Oslo", "days": 2, "places": [{"lat": 1.5}]}) == []


def test_every_fault_names_its_field() -> None:
    faults = Schemas().faults(SCHEMA, {"city": "oslo", "days": 0, "places": [{"lat": "x"}], "more": 1})

    assert sorted(faults) == [
        "/city: 'oslo' does not match '^[A-Z]'",
        "/days: 0 is less than the minimum of 1",
        "/places/0/lat: 'x' is not of type 'number'",
        "the whole: there is no field 'more'; there are city, days, places",
    ]
    assert Schemas().faults(SCHEMA, {}) == ["the whole: 'city' is a required property"]


def test_faults_are_few_and_short() -> None:
    schema = {"type": "object", "additionalProperties": {"type": "integer"}}

    faults = Schemas().faults(schema, {str(number): "x" * 5_000 for number in range(50)})

    assert len(faults) == 5
    assert all(len(fault) < 400 for fault in faults)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array"},
        {"type": "nonsense"},
        {"type": "object", "properties": 1},
        {"type": "object", "description": "x" * 200_000},
        {"patternProperties": {"^a": {}}, "unevaluatedProperties": False},
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(SchemaRefused):
        Schemas().compile(schema)


def test_a_schema_fetches_nothing() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:1/schema.json"}}}

    with pytest.raises(SchemaRefused, match="which is not in it"):
        Schemas().faults(schema, {"a": 1})


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"pattern": "^(a|aa)+$"}}},
        {"type": "object", "patternProperties": {"^(a|aa)+$": {}}},
        {"type": "object", "patternProperties": {"^(a|aa)+$": {}}, "additionalProperties": False},
        {"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}},
        {
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/n0"}},
            "$defs": {
                **{f"n{n}": {"allOf": [{"$ref": f"#/$defs/n{n + 1}"}] * 2} for n in range(40)},
                "n40": {"type": "string"},
            },
        },
    ],
)
def test_a_schema_that_takes_too_long_is_given_up(schema: dict[str, Any]) -> None:
    began = time.monotonic()

    with pytest.raises(SchemaRefused, match="takes too long"):
        Schemas().faults(schema, {"a": "a" * 60 + "b", "a" * 60 + "b": 1})

    assert time.monotonic() - began < 5


def test_a_schema_is_compiled_once_and_forgotten_when_others_come() -> None:
    schemas = Schemas()
    first = schemas.compile(SCHEMA)

    assert schemas.compile({**SCHEMA}) is first
    for number in range(600):
        schemas.compile({"type": "object", "title": str(number)})
    assert schemas.compile(SCHEMA) is not first


@pytest.mark.parametrize(
    ("items", "is_unique"),
    [
        ([1, 2], True),
        ([1, 1.0], False),
        ([1, True, "1", None, [1], {"a": 1}], True),
        ([{"a": [1], "b": 2}, {"b": 2, "a": [1.0]}], False),
        ([{"a": 1}, {"a": True}], True),
        ([[1, 2], [2, 1]], True),
    ],
)
def test_items_that_are_to_be_unique_are_compared_as_json(items: list[object], is_unique: bool) -> None:
    schema = {"type": "object", "properties": {"items": {"uniqueItems": True}}}

    assert (Schemas().faults(schema, {"items": items}) == []) is is_unique


def test_many_items_are_compared_in_little_time() -> None:
    schema = {"type": "object", "properties": {"items": {"uniqueItems": True}}}
    items = [{"number": number} for number in range(20_000)]
    began_at = time.monotonic()

    assert Schemas().faults(schema, {"items": items}) == []
    assert time.monotonic() - began_at < 5
