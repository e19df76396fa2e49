"""The published schema."""

import json
from typing import Any

import jsonschema
import pytest

from api.routes.openapi import build, encode
from api.routes.operations import Answer, operation

from .operations import OPERATIONS, list_sessions


def walk(value: Any) -> Any:
    yield value
    if isinstance(value, dict):
        for inner in value.values():
            yield from walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(encode(build(OPERATIONS)))
    return read


def test_the_same_operations_give_the_same_bytes_in_any_order() -> None:
    assert encode(build(OPERATIONS)) == encode(build(reversed(OPERATIONS)))


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = {item["$ref"] for item in walk(document) if isinstance(item, dict) and "$ref" in item}

    names = {reference.removeprefix("#/components/schemas/") for reference in references}
    assert names <= document["components"]["schemas"].keys()


def test_every_schema_is_a_json_schema(document: dict[str, Any]) -> None:
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_requests_refuse_unknown_fields_and_answers_may_grow(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    assert schemas["AppendMessage"]["additionalProperties"] is False
    assert schemas["Definition"]["additionalProperties"] is False
    assert "additionalProperties" not in schemas["SessionDelta"]
    assert "additionalProperties" not in schemas["Reply"]


def test_answers_promise_every_field_that_they_always_have(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    assert set(schemas["SessionView"]["required"]) == set(schemas["SessionView"]["properties"])
    assert "truncated" in schemas["Reply"]["required"]
    assert schemas["Problem"]["required"] == ["type", "title", "status", "detail", "code"]
    assert "required" not in schemas["Actor"]


def test_bounds_formats_and_null_are_kept(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    message = schemas["AppendMessage"]["properties"]

    assert message["text"] == {
        "type": "string",
        "maxLength": 32768,
        "pattern": "\\S",
        "description": "At most 32 KiB of UTF-8.",
    }
    assert message["expected_revision"]["type"] == ["integer", "null"]
    assert (message["expected_revision"]["minimum"], message["expected_revision"]["maximum"]) == (
        1,
        2**31 - 1,
    )
    assert message["if_active"]["enum"] == ["enqueue", "interrupt", "reject"]
    assert schemas["UsageEntryView"]["properties"]["cost"]["type"] == ["string", "null"]
    assert schemas["UsageEntryView"]["properties"]["cost"]["format"] == "decimal"
    assert schemas["SessionView"]["properties"]["created_at"]["format"] == "date-time"
    assert schemas["SessionView"]["properties"]["ended_at"]["format"] == "date-time"
    assert schemas["Definition"]["properties"]["temperature"]["maximum"] == 2
    assert schemas["Rewind"]["oneOf"] == [{"required": ["turn_id"]}, {"required": ["to"]}]
    assert not any(item == {"type": "null"} for item in walk(message))


def test_a_field_is_described_by_the_sentence_under_it(document: dict[str, Any]) -> None:
    turn = document["components"]["schemas"]["TurnView"]["properties"]

    assert turn["finished_at"]["description"] == "Null until the turn is final."
    assert "description" not in turn["created_at"]


def test_a_change_lists_its_preconditions_and_their_problems(document: dict[str, Any]) -> None:
    append = document["paths"]["/v1/sessions/{session_id}/messages"]["post"]

    assert [(item["in"], item["name"], item["required"]) for item in append["parameters"]] == [
        ("path", "session_id", True),
        ("header", "Idempotency-Key", False),
        ("header", "If-Match", False),
        ("header", "Prefer", False),
        ("header", "Turnledger-On-Behalf-Of", False),
    ]
    assert list(append["responses"]) == [
        "200", "400", "401", "403", "404", "409", "412", "413", "415", "422", "428", "429", "500", "503",
    ]  # fmt: skip
    assert append["responses"]["412"]["content"] == {
        "application/problem+json": {"schema": {"$ref": "#/components/schemas/ConflictProblem"}}
    }
    assert append["requestBody"]["required"] is True
    assert "ETag" in append["responses"]["200"]["headers"]


def test_where_only_the_header_can_name_the_revision_it_is_required(document: dict[str, Any]) -> None:
    delete = document["paths"]["/v1/sessions/{session_id}"]["delete"]

    required = {item["name"] for item in delete["parameters"] if item["required"]}
    assert required == {"session_id", "If-Match"}
    assert delete["responses"]["204"] == {"description": "Gone."}


def test_a_patch_is_taken_in_both_media_types(document: dict[str, Any]) -> None:
    patch = document["paths"]["/v1/sessions/{session_id}"]["patch"]

    assert list(patch["requestBody"]["content"]) == ["application/json", "application/merge-patch+json"]
    assert patch["requestBody"]["required"] is False


def test_query_parameters_have_bounds_and_are_never_null(document: dict[str, Any]) -> None:
    parameters = {item["name"]: item for item in document["paths"]["/v1/sessions"]["get"]["parameters"]}

    assert parameters["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}
    assert parameters["state"]["schema"] == {"type": "string", "enum": ["ended", "open"]}
    assert parameters["active_since"]["schema"] == {"type": "string", "format": "date-time"}
    assert parameters["q"]["description"].startswith("Only sessions whose name begins with this")


def test_all_but_public_operations_need_a_key(document: dict[str, Any]) -> None:
    assert document["security"] == [{"apiKey": []}]
    assert document["paths"]["/health/live"]["get"]["security"] == []
    assert "401" not in document["paths"]["/health/live"]["get"]["responses"]
    assert document["components"]["securitySchemes"]["apiKey"]["scheme"] == "bearer"


def test_a_docstring_becomes_the_description_whatever_its_lines(document: dict[str, Any]) -> None:
    assert document["paths"]["/v1/sessions/{session_id}"]["get"]["description"] == (
        "The document.\n\nWithout parameters the newest turns; `complete` says whether these are all."
    )


def test_an_operation_is_declared_once() -> None:
    twin = operation(
        "GET",
        "/v1/others",
        operation_id="listSessions",
        tag="x",
        summary="x",
        answers={204: Answer(description="x")},
    )(list_sessions.handler)

    with pytest.raises(ValueError, match="listSessions"):
        build((*OPERATIONS, twin))


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    import schemathesis

    schema = schemathesis.openapi.from_dict(document)

    assert schema.statistic.operations.total == len(OPERATIONS)
    schema.validate()
