"""The texts of a request: what they may name, and who chooses the host."""

from typing import Any

import pytest

from api.agents.definition import parse
from api.agents.http_texts import split_url
from api.agents.templates import parse as template
from api.agents.templates import render
from tests.agents.recipes import changed, faults_of


@pytest.mark.parametrize(
    "url",
    [
        "https://clinic.example",
        "HTTP://clinic.example:8080/a?b=c#d",
        "https://clinic.example/{{arguments.slot}}?q={{arguments.slot}}",
        "https://clinic.example?q={{arguments.slot}}",
        "https://{{context.region}}.clinic.example/x",
        "https://{{context.host}}:{{context.port}}/x",
        "http://[::1]:80/x",
        "{{context.base_url}}/x/{{arguments.slot}}",
        "{{context.base_url}}?x={{arguments.slot}}",
        "{{secrets.base_url}}",
    ],
)
def test_urls_that_are_taken(url: str) -> None:
    assert parse(changed("/tools/0/http/url", url))


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("", "blank"),
        (5, "wrong_type"),
        ("clinic.example/x", "invalid_format"),
        ("ftp://clinic.example", "invalid_format"),
        ("file:///etc/passwd", "invalid_format"),
        ("https://", "invalid_format"),
        ("https:///x", "invalid_format"),
        ("https://clinic.example:99999/", "invalid_format"),
        ("https://user:pass@clinic.example/", "invalid_format"),
        ("https://clinic.example\\@evil.example/", "invalid_format"),
        ("https://clinic.example/a b", "invalid_format"),
        ("https://clinic.example/\n", "invalid_format"),
        ("https://{{arguments.host}}/", "not_allowed"),
        ("https://clinic.example{{arguments.path}}", "not_allowed"),
        ("https://clinic.example:{{arguments.port}}/", "not_allowed"),
        ("https://{{variables.host}}/", "not_allowed"),
        ("{{arguments.url}}", "not_allowed"),
        ("{{arguments.scheme}}://clinic.example", "not_allowed"),
        ("http{{context.s}}://clinic.example", "invalid_format"),
        ("{{context.base_url}}{{arguments.path}}", "invalid_format"),
        ("{{context.base_url}}.evil.example/", "invalid_format"),
        ("https://clinic.example/{{slot}}", "invalid_template"),
        ("https://clinic.example/{{secrets}}", "invalid_template"),
        ("https://clinic.example/{{secrets.a.b}}", "invalid_template"),
        ("https://clinic.example/{{arguments.slot", "invalid_template"),
    ],
)
def test_urls_that_are_refused(url: Any, code: str) -> None:
    assert faults_of(changed("/tools/0/http/url", url)) == [("/tools/0/http/url", code)]


@pytest.mark.parametrize(
    ("pointer", "value", "at", "code"),
    [
        ("/method", "TRACE", None, "not_allowed"),
        ("/method", "post", None, "not_allowed"),
        ("/method", "GET", "/body", "not_allowed"),
        ("/method", ..., None, "required"),
        ("/headers/X-Name", "{{name}}", None, "invalid_template"),
        ("/headers/X-Name", "a\r\nb: c", None, "invalid_characters"),
        ("/headers/X-Name", 5, None, "wrong_type"),
        ("/headers/X Name", "a", None, "invalid_format"),
        ("/headers/Host", "a", None, "not_allowed"),
        ("/headers/Transfer-Encoding", "chunked", None, "not_allowed"),
        ("/headers", [], None, "wrong_type"),
        ("/headers", {f"X-{number}": "a" for number in range(65)}, None, "too_many"),
        ("/query/a", "{{x.y}}", None, "invalid_template"),
        ("/body/slots/0", "{{", None, "invalid_template"),
        ("/body/name", {"deep": ["{{name}}"]}, "/body/name/deep/0", "invalid_template"),
        ("/body/name", {"a\x00": 1}, None, "invalid_characters"),
        ("/body/name", 2**64, None, "too_large"),
        ("/body/name", float("inf"), None, "wrong_type"),
        ("/result", "data", None, "invalid_format"),
        ("/result", "/a~2", None, "invalid_format"),
        ("/verb", "GET", None, "unknown_field"),
    ],
)
def test_a_fault_of_a_request_is_told(pointer: str, value: Any, at: str | None, code: str) -> None:
    recipe = changed(f"/tools/0/http{pointer}", value)

    assert faults_of(recipe) == [(f"/tools/0/http{at or pointer}", code)]


def test_a_tool_without_parameters_has_no_arguments() -> None:
    recipe = changed("/tools/0/parameters", None)

    assert faults_of(recipe) == [
        ("/tools/0/http/url", "unknown_name"),
        ("/tools/0/http/body/slots/0", "unknown_name"),
    ]


@pytest.mark.parametrize(
    ("url", "host", "rest"),
    [
        ("https://a.example/x/{{arguments.y}}", "https://a.example", "/x/Y"),
        ("https://{{context.h}}.example:80?{{arguments.y}}", "https://H.example:80", "?Y"),
        ("{{context.h}}/x{{arguments.y}}", "H", "/xY"),
        ("https://a.example", "https://a.example", ""),
        ("{{context.h}}", "H", ""),
        ("", "", ""),
    ],
)
def test_a_url_is_divided_behind_its_host(url: str, host: str, rest: str) -> None:
    values = {"context": {"h": "H"}, "arguments": {"y": "Y"}}

    parts = split_url(template(url))

    assert tuple(render(part, values) for part in parts) == (host, rest)
