"""Texts that are filled from JSON values."""

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from api.agents import templates
from api.agents.templates import (
    PATH_SEGMENTS_MAX,
    Placeholder,
    RenderedTooLong,
    TemplateFault,
    parse,
    render,
    scope,
    value,
)

VALUES: dict[str, Any] = {
    "name": "Ada",
    "empty": "",
    "nothing": None,
    "age": 36,
    "ratio": 0.5,
    "is_new": True,
    "customer": {"name": "Grace", "tags": ["first", {"deep": "yes"}], "0": "zero"},
    "über-sicht": "ok",
}


def filled(text: str) -> str:
    return render(parse(text), VALUES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("Hello.", "Hello."),
        ("Hello {{name}}!", "Hello Ada!"),
        ("{{ name }}{{name}}", "AdaAda"),
        ("{{customer.name}}", "Grace"),
        ("{{customer.tags.0}}", "first"),
        ("{{customer.tags.1.deep}}", "yes"),
        ("{{customer.0}}", "zero"),
        ("{{über-sicht}}", "ok"),
        ("{{customer.tags}}", '["first",{"deep":"yes"}]'),
        ("{{age}} {{ratio}} {{is_new}}", "36 0.5 true"),
        ("[{{missing}}]", "[]"),
        ("[{{nothing}}]", "[]"),
        ("{{missing | friend}}", "friend"),
        ("{{nothing|friend}}", "friend"),
        ("{{missing | }}", ""),
        ("{{missing | a | b}}", "a | b"),
        ("[{{empty | friend}}]", "[]"),
        ("{{name | friend}}", "Ada"),
        ("{{missing.deeper}}", ""),
        ("{{name.0}}", ""),
        ("{{customer.tags.2}}", ""),
        ("{{customer.tags.-1}}", ""),
        ("{{customer.tags." + "9" * 10_000 + "}}", ""),
        ("{{customer.tags.٠}}", ""),
        ('{"a": {"b": 1}}', '{"a": {"b": 1}}'),
        ("a } b }} c { d", "a } b }} c { d"),
        (r"\{{name}}", "{{name}}"),
        (r"\\{{name}}", "\\Ada"),
        (r"\\\{{name}}", r"\{{name}}"),
        (r"C:\dir\{x}", r"C:\dir\{x}"),
    ],
)
def test_places_are_filled(text: str, expected: str) -> None:
    assert filled(text) == expected


@pytest.mark.parametrize(
    ("text", "position", "line", "column"),
    [
        ("{{", 0, 1, 1),
        ("Hello {{name", 6, 1, 7),
        ("One\nTwo {{name} more", 8, 2, 5),
        ("{{}}", 0, 1, 1),
        ("{{ | friend}}", 0, 1, 1),
        ("{{a b}}", 0, 1, 1),
        ("{{.a}}", 0, 1, 1),
        ("{{a..b}}", 0, 1, 1),
        ("{{a()}}", 0, 1, 1),
        ("{{a {{b}}", 0, 1, 1),
        ("{{{a}}}", 0, 1, 1),
        ("fine {{a}} {{b.}}", 11, 1, 12),
        ("{{" + ".".join("a" * (PATH_SEGMENTS_MAX + 1)) + "}}", 0, 1, 1),
    ],
)
def test_a_fault_tells_where_it_is(text: str, position: int, line: int, column: int) -> None:
    with pytest.raises(TemplateFault) as caught:
        parse(text)

    assert (caught.value.position, caught.value.line, caught.value.column) == (position, line, column)
    assert f"(line {line}, column {column})" in str(caught.value)


def test_a_text_from_before_there_were_templates_stands_as_it_is() -> None:
    assert render(templates.read("Write {{ and {{name}}."), VALUES) == "Write {{ and {{name}}."
    assert templates.read("Hello {{name}}") is parse("Hello {{name}}")


def test_the_places_of_a_text_can_be_listed() -> None:
    assert parse("a {{b.c | d}} e").placeholders == (Placeholder(("b", "c"), "d", 2),)


def test_what_is_filled_in_can_be_escaped() -> None:
    template = parse("https://a.example/{{name}}/{{missing | x y}}?q=/")

    text = render(template, {"name": "../?#"}, escape=lambda text: quote(text, safe=""))

    assert text == "https://a.example/..%2F%3F%23/x%20y?q=/"


def test_a_text_has_a_limit_in_bytes() -> None:
    template = parse("é{{name}}")

    assert render(template, {"name": "éé"}, bytes_max=6) == "ééé"
    with pytest.raises(RenderedTooLong):
        render(template, {"name": "éé."}, bytes_max=6)
    with pytest.raises(RenderedTooLong):
        value("{{name}}.", {"name": "x" * templates.RENDERED_BYTES_MAX})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{age}}", 36),
        (" {{age}}", " 36"),
        ("{{is_new}}", True),
        ("{{customer.tags.1}}", {"deep": "yes"}),
        ("{{missing}}", None),
        ("{{nothing}}", None),
        ("{{missing | 5}}", "5"),
        ("{{name}}{{age}}", "Ada36"),
        (r"\{{age}}", "{{age}}"),
        ("plain", "plain"),
    ],
)
def test_a_string_that_is_one_place_becomes_the_value(text: str, expected: Any) -> None:
    assert value(text, VALUES) == expected


def test_variables_come_before_the_context_under_plain_names() -> None:
    seen = scope({"name": "Ada", "city": "Rome", "variables": 1}, {"name": "Grace", "context": 2})

    text = render(parse("{{name}} {{city}} {{context.name}} {{variables.name}}"), seen)

    assert text == "Grace Rome Ada Grace"


def test_a_text_is_read_once() -> None:
    assert parse("read once {{name}}") is parse("read once {{name}}")


@pytest.mark.parametrize("text", ["\\" * 30_000, "{ " * 30_000, "\\{{" * 10_000, "{{a" + " " * 30_000 + "}}"])
def test_a_hostile_text_is_read(text: str) -> None:
    assert len(parse(text).parts) == 1


def position_of_fault(text: str) -> int | None:
    """Where a text cannot be read; None for one that can."""
    try:
        parse(text)
    except TemplateFault as fault:
        return fault.position
    return None


@given(st.text(alphabet="a{}\\|. \n0é", max_size=40))
def test_any_text_is_a_template_or_has_a_fault(text: str) -> None:
    position = position_of_fault(text)

    if position is None:
        assert len(filled(text)) <= len(text)
    else:
        assert text[position:].startswith("{{")


@given(st.text(alphabet="a{}\\ ", max_size=30))
def test_a_text_without_open_places_is_itself(text: str) -> None:
    assume("{{" not in text)

    assert filled(text) == text
