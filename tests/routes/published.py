"""Holds an answer against the published schema: status, media type, header fields and body."""

import json
import re
from functools import cache
from typing import Any

import httpx
from jsonschema import Draft202012Validator

from api.routes.mounting import OPERATIONS, openapi_document
from api.routes.operations import Operation


@cache
def document() -> Any:
    """The published schema."""
    return json.loads(openapi_document())


@cache
def _patterns() -> list[tuple[re.Pattern[str], Operation]]:
    return [
        (re.compile(re.sub(r"\\\{[a-z_]+\\\}", "[^/]+", re.escape(operation.path))), operation)
        for operation in OPERATIONS
    ]


def operation_of(method: str, path: str) -> Operation | None:
    """The operation that answers a request; None for what is no operation."""
    for pattern, operation in _patterns():
        same = operation.method == method or (operation.method == "GET" and method == "HEAD")
        if same and pattern.fullmatch(path):
            return operation
    return None


def require_published(response: httpx.Response) -> None:
    """Assert that an answer is one that the schema promises."""
    request = response.request
    operation = operation_of(request.method, request.url.path)
    if operation is None:
        return
    responses = document()["paths"][operation.path][operation.method.lower()]["responses"]
    told = f"{request.method} {request.url.path} answered {response.status_code}: {response.text[:500]}"
    assert str(response.status_code) in responses, told
    if request.method == "HEAD":
        return
    contents = responses[str(response.status_code)].get("content", {})
    if not contents:
        assert response.content == b"", told
        return
    media_type = response.headers["content-type"].partition(";")[0]
    assert media_type in contents, told
    validator = _validator(operation.path, operation.method.lower(), response.status_code, media_type)
    body = response.json() if media_type.endswith("json") else response.text
    faults = list(validator.iter_errors(body))
    assert not faults, f"{told}\n{faults[0]}"


@cache
def _validator(path: str, method: str, status: int, media_type: str) -> Draft202012Validator:
    responses = document()["paths"][path][method]["responses"]
    schema = responses[str(status)]["content"][media_type]["schema"]
    return Draft202012Validator({**schema, "components": document()["components"]})
