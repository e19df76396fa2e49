"""Reading an agent's definition."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.agents.bounds import TEXT_BYTES_MAX
from api.agents.definition import (
    Definition,
    DefinitionRefused,
    Greeting,
    Limits,
    digest,
    parse,
)


def faults_of(data: bytes | dict[str, Any]) -> list[tuple[str, str]]:
    """Where and what is wrong with a definition."""
    with pytest.raises(DefinitionRefused) as caught:
        parse(data)
    return [(fault.pointer, fault.code) for fault in caught.value.faults]


def test_a_model_is_enough() -> None:
    assert parse(b'{"model": "scripted:demo"}') == Definition(model="scripted:demo")


def test_every_field_is_read() -> None:
    definition = parse(
        {
            "model": "local:org/llama3:8b",
            "instructions": "Be kind.",
            "greeting": {"generate": True, "instructions": "Greet in French."},
            "speaker": "Ada Lovelace",
            "limits": {"context_tokens": 8000, "output_tokens": 500, "turn_seconds": 30.5},
            "temperature": 0,
        }
    )

    assert definition == Definition(
        model="local:org/llama3:8b",
        instructions="Be kind.",
        greeting=Greeting(generate=True, instructions="Greet in French."),
        speaker="Ada Lovelace",
        limits=Limits(context_tokens=8000, output_tokens=500, turn_seconds=30.5),
        temperature=0,
    )


def test_a_fixed_greeting_is_a_string() -> None:
    assert parse({"model": "scripted:demo", "greeting": "Hello."}).greeting == "Hello."


def test_the_speaker_has_a_default() -> None:
    assert parse({"model": "scripted:demo"}).speaker_name == "assistant"
    assert parse({"model": "scripted:demo", "speaker": "Ada"}).speaker_name == "Ada"


def test_absence_may_be_said() -> None:
    said = {
        "model": "scripted:demo",
        "greeting": None,
        "speaker": None,
        "limits": {"context_tokens": None, "output_tokens": None, "turn_seconds": None},
        "temperature": None,
    }

    assert parse(said) == parse({"model": "scripted:demo"})


def test_every_fault_is_told_at_once() -> None:
    faults = faults_of(
        {
            "instructions": 3,
            "greeting": {"generate": False, "a/b~c": 1},
            "speaker": " ",
            "limits": {"context_tokens": True, "output_tokens": 1.5, "turn_seconds": 0},
            "temperature": 2.1,
            "nodes": {},
        }
    )

    assert faults == [
        ("/model", "required"),
        ("/instructions", "wrong_type"),
        ("/greeting/generate", "wrong_type"),
        ("/greeting/a~1b~0c", "unknown_field"),
        ("/speaker", "blank"),
        ("/limits/context_tokens", "wrong_type"),
        ("/limits/output_tokens", "wrong_type"),
        ("/limits/turn_seconds", "too_small"),
        ("/temperature", "too_large"),
        ("/nodes", "wrong_type"),
    ]


@pytest.mark.parametrize(
    ("data", "pointer", "code"),
    [
        (b"{", "", "invalid_json"),
        (b"\xff", "", "invalid_json"),
        (b"[" * 100_000, "", "invalid_json"),
        (b"[]", "", "wrong_type"),
        ({"model": None}, "/model", "wrong_type"),
        ({"model": "gpt-5"}, "/model", "invalid_format"),
        ({"model": "openai:"}, "/model", "invalid_format"),
        ({"model": "Open AI:x"}, "/model", "invalid_format"),
        ({"model": "openai:" + "x" * 200}, "/model", "too_long"),
        ({"model": "openai:x\x00"}, "/model", "invalid_characters"),
        ({"model": "a:b", "instructions": None}, "/instructions", "wrong_type"),
        ({"model": "a:b", "instructions": "é" * (TEXT_BYTES_MAX // 2 + 1)}, "/instructions", "too_long"),
        ({"model": "a:b", "instructions": "\ud800"}, "/instructions", "invalid_characters"),
        ({"model": "a:b", "greeting": "  "}, "/greeting", "blank"),
        ({"model": "a:b", "greeting": 1}, "/greeting", "wrong_type"),
        ({"model": "a:b", "greeting": {}}, "/greeting/generate", "required"),
        (
            {"model": "a:b", "greeting": {"generate": True, "instructions": 1}},
            "/greeting/instructions",
            "wrong_type",
        ),
        ({"model": "a:b", "speaker": "x" * 65}, "/speaker", "too_long"),
        ({"model": "a:b", "speaker": "A\nB"}, "/speaker", "invalid_characters"),
        ({"model": "a:b", "speaker": 1}, "/speaker", "wrong_type"),
        ({"model": "a:b", "limits": None}, "/limits", "wrong_type"),
        ({"model": "a:b", "limits": {"context_tokens": 255}}, "/limits/context_tokens", "too_small"),
        ({"model": "a:b", "limits": {"output_tokens": 10**400}}, "/limits/output_tokens", "too_large"),
        ({"model": "a:b", "temperature": float("nan")}, "/temperature", "wrong_type"),
        ({"model": "a:b", "temperature": float("inf")}, "/temperature", "wrong_type"),
        ({"model": "a:b", "temperature": "1"}, "/temperature", "wrong_type"),
        ({"model": "a:b", "temperature": -0.1}, "/temperature", "too_small"),
    ],
)
def test_a_fault_is_told_where_it_is(data: bytes | dict[str, Any], pointer: str, code: str) -> None:
    assert faults_of(data) == [(pointer, code)]


def test_the_longest_instructions_are_accepted() -> None:
    assert parse({"model": "a:b", "instructions": "é" * (TEXT_BYTES_MAX // 2)})


def test_a_refusal_reads_as_a_sentence_for_each_fault() -> None:
    with pytest.raises(DefinitionRefused, match=r"^/model: This is required\.$"):
        parse({})


def test_the_digest_is_of_the_meaning() -> None:
    first = parse(b'{"model": "a:b", "temperature": 1, "limits": {}}')
    second = parse(b'{"temperature": 1.0, "greeting": null, "model": "a:b"}')
    third = parse(b'{"model": "a:b", "temperature": 0.5}')

    assert digest(first) == digest(second)
    assert digest(first) != digest(third)


def test_a_stored_definition_is_read_again() -> None:
    definition = parse({"model": "a:b", "greeting": {"generate": True}, "limits": {"turn_seconds": 2}})

    assert parse(msgspec.json.encode(definition)) == definition


TEXT = st.text(alphabet="ab{}/~é\x00", max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["model", "instructions", "greeting", "speaker", "limits", "temperature", "other"])


@settings(max_examples=100)
@given(data=st.dictionaries(FIELDS, JSON | st.just("a:b"), max_size=6))
def test_nothing_but_a_definition_or_a_refusal_comes_out(data: dict[str, Any]) -> None:
    try:
        definition = parse(data)
    except DefinitionRefused:
        return
    assert parse(msgspec.json.encode(definition)) == definition
