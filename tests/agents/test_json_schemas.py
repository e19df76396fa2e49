"""JSON Schemas within a definition."""

from typing import Any

import pytest

from api.agents import bounds
from api.agents.definition import parse
from tests.agents.recipes import changed, faults_of


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "properties": {"$ref": {"type": "string"}, "$id": True}},
        {
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/a"}, "self": {"$ref": "#"}},
            "$defs": {"a": {"anyOf": [{"type": "null"}, {"$ref": "#/properties/self"}]}},
        },
        {"type": "object", "examples": [{"$ref": "http://elsewhere.example"}], "default": {"$id": "x"}},
    ],
)
def test_schemas_that_are_taken(schema: dict[str, Any]) -> None:
    assert parse(changed("/nodes/1/answer_schema", schema))


@pytest.mark.parametrize(
    ("schema", "at", "code"),
    [
        ([], "", "wrong_type"),
        (True, "", "wrong_type"),
        ({}, "/type", "invalid_schema"),
        ({"type": ["object", "null"]}, "/type", "invalid_schema"),
        ({"type": "object", "properties": {"a": {"type": "text"}}}, "/properties/a/type", "invalid_schema"),
        (
            {"type": "object", "properties": {"a/b": {"pattern": "("}}},
            "/properties/a~1b/pattern",
            "invalid_schema",
        ),
        ({"type": "object", "required": "a"}, "/required", "invalid_schema"),
        ({"type": "object", "$id": "https://a.example"}, "/$id", "invalid_schema"),
        (
            {"type": "object", "properties": {"a": {"$ref": "https://a.example/schema"}}},
            "/properties/a/$ref",
            "invalid_schema",
        ),
        ({"type": "object", "allOf": [{"$ref": "#/$defs/no"}]}, "/allOf/0/$ref", "invalid_schema"),
        ({"type": "object", "not": {"$ref": "#name"}}, "/not/$ref", "invalid_schema"),
        ({"type": "object", "title": "\x00"}, "/title", "invalid_characters"),
        ({"type": "object", "title": "x" * bounds.SCHEMA_BYTES_MAX}, "", "too_large"),
    ],
)
def test_schemas_that_are_refused(schema: Any, at: str, code: str) -> None:
    assert faults_of(changed("/nodes/1/answer_schema", schema)) == [(f"/nodes/1/answer_schema{at}", code)]
    assert faults_of(changed("/tools/0/parameters", schema)) == [(f"/tools/0/parameters{at}", code)]


def test_every_fault_of_a_schema_is_told() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "x"}, "b": {"minimum": "1"}}}

    assert faults_of(changed("/nodes/1/answer_schema", schema)) == [
        ("/nodes/1/answer_schema/properties/a/type", "invalid_schema"),
        ("/nodes/1/answer_schema/properties/b/minimum", "invalid_schema"),
    ]
