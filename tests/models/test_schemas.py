"""JSON Schemas as providers take them."""

from typing import Any

import pytest

from api.models.base import ToolSpec
from api.models.schemas import RefusedSchemas, as_sent, is_strict, union_count
from tests.models.asking import LOOKUP, LOOSE, PERSON
from tests.models.calls import made_request

NAME = {"type": "string"}


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    "schema",
    [
        PERSON,
        closed(),
        closed(inner=closed(name={"type": ["string", "null"], "enum": ["a", None], "description": "x"})),
        closed(items={"type": "array", "items": closed(name=NAME)}),
        closed(either={"anyOf": [NAME, {"type": "null"}]}),
        {**closed(one={"$ref": "#/$defs/one"}), "$defs": {"one": closed(name=NAME)}},
    ],
)
def test_closed_objects_that_need_all_they_have_are_strict(schema: dict[str, Any]) -> None:
    assert is_strict(schema)


@pytest.mark.parametrize(
    "schema",
    [
        LOOSE,
        {},
        {"type": "array", "items": NAME},
        {"anyOf": [PERSON]},
        {**PERSON, "required": ["name"]},
        {**PERSON, "additionalProperties": True},
        {**PERSON, "minProperties": 1},
        closed(name={"type": "string", "maxLength": 3}),
        closed(inner={"type": "object"}),
        closed(inner=True),
        closed(items={"type": "array", "items": {"type": "object"}}),
        closed(a=closed(b=closed(c=closed(d=closed(e=closed(f=NAME)))))),
        {**closed(), "$defs": {"one": LOOSE}},
        {**closed(), "properties": []},
    ],
)
def test_anything_else_is_not(schema: dict[str, Any]) -> None:
    assert not is_strict(schema)


def test_alternatives_are_counted_all_through() -> None:
    schema = closed(
        a={"type": ["string", "null"]},
        b={"anyOf": [{"type": ["integer", "null"]}, NAME]},
        c={"type": "string"},
    )

    assert union_count(schema) == 3


def test_a_tool_that_every_provider_takes_is_sent_as_it_is() -> None:
    assert as_sent(LOOKUP) == LOOKUP


def test_a_tool_without_parameters_is_sent_with_an_object_of_none() -> None:
    sent = as_sent(ToolSpec(name="go", description="Go on.", parameters={}))

    assert sent.parameters == {"type": "object", "properties": {}}
    assert sent.description == "Go on."


def test_alternatives_at_the_root_of_a_tool_are_told_in_its_description() -> None:
    parameters = {**LOOKUP.parameters, "anyOf": [{"required": ["day"]}, {"required": ["week"]}]}

    sent = as_sent(ToolSpec(name="lookup", description="What it brings.", parameters=parameters))

    assert sent.parameters == LOOKUP.parameters
    assert sent.description.startswith("What it brings.\nThe arguments must also fit")
    assert '"week"' in sent.description


def test_refused_schemas_are_known_by_model_and_forgotten_when_they_are_many() -> None:
    refused = RefusedSchemas()
    person = made_request(answer_schema=PERSON)

    refused.add(person)

    assert person in refused
    assert made_request(answer_schema=PERSON, model="m-2") not in refused
    assert made_request() not in refused
    for number in range(1_000):
        refused.add(made_request(answer_schema={"title": str(number)}))
    assert person not in refused
