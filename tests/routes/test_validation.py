"""Every fault of a body at once."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.routes.api_error import ApiError
from api.routes.errors import Invalid, UnsupportedMediaType
from api.routes.schemas import requests
from api.routes.schemas.requests import (
    AppendMessage,
    CreateSession,
    PatchSession,
    Regenerate,
    Restore,
    Retry,
    Rewind,
)
from api.routes.validation import FAULTS_MAX, Limits, decode_body

JSON = "application/json"


def faults_of(raw: bytes, struct: type[msgspec.Struct], **more: Any) -> list[tuple[str, str]]:
    with pytest.raises(Invalid) as refused:
        decode_body(raw, struct, content_type=JSON, **more)
    msgspec.json.encode(refused.value.problem(status=422))
    return [(fault.pointer, fault.code) for fault in refused.value.faults]


def answer_to(raw: bytes, struct: type[msgspec.Struct]) -> dict[str, Any] | None:
    """Decode, and read the problem document back as a client would; None when the body is taken."""
    try:
        made = decode_body(raw, struct, content_type=JSON)
    except ApiError as refused:
        problem: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(refused.problem(status=422)))
        return problem
    msgspec.json.encode(made)
    return None


def test_a_valid_body_becomes_its_struct() -> None:
    message = decode_body(
        b'{"text": "Hello \\ud83d\\ude00", "expected_revision": 7}', AppendMessage, content_type=JSON
    )

    assert message == AppendMessage(text="Hello 😀", expected_revision=7)


def test_all_faults_are_told_at_once_in_order_of_pointer() -> None:
    raw = b'{"speaker": 5, "if_active": "maybe", "expected_revision": 0, "extra": "\\u0000", "b": 1e999}'

    assert faults_of(raw, AppendMessage) == [
        ("/b", "out-of-range"),
        ("/b", "unknown-field"),
        ("/expected_revision", "out-of-range"),
        ("/extra", "nul-character"),
        ("/extra", "unknown-field"),
        ("/if_active", "not-allowed"),
        ("/speaker", "wrong-type"),
        ("/text", "missing"),
    ]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b'""', "blank"),
        (b'" \\n\\t\xe3\x80\x80"', "blank"),
        (b'"a\\u0000"', "nul-character"),
        (b'"a\\ud800"', "lone-surrogate"),
        (b'"' + b"a" * 32_769 + b'"', "too-long"),
        (b'"' + "é".encode() * 16_385 + b'"', "too-long"),
        (b"null", "wrong-type"),
        (b"5", "wrong-type"),
        (b'["a"]', "wrong-type"),
    ],
)
def test_a_text_that_cannot_be_taken_is_named(value: bytes, code: str) -> None:
    assert faults_of(b'{"text": ' + value + b"}", AppendMessage) == [("/text", code)]


def test_a_text_of_exactly_the_limit_is_taken() -> None:
    raw = b'{"text": "' + "é".encode() * 16_384 + b'"}'

    assert len(decode_body(raw, AppendMessage, content_type=JSON).text) == 16_384


def test_the_limit_of_a_text_can_be_raised_and_lowered() -> None:
    long = b'{"text": "' + b"a" * 40_000 + b'"}'

    assert decode_body(long, AppendMessage, content_type=JSON, limits=Limits(text_bytes_max=50_000)).text
    assert faults_of(b'{"text": "abc"}', Regenerate, limits=Limits(text_bytes_max=2)) == [
        ("/text", "too-long")
    ]


def test_a_raised_limit_also_holds_beside_other_faults() -> None:
    raw = b'{"text": "' + b"a" * 40_000 + b'", "extra": 1}'

    assert faults_of(raw, AppendMessage, limits=Limits(text_bytes_max=50_000)) == [
        ("/extra", "unknown-field")
    ]


def test_a_free_object_is_limited_in_size_and_depth() -> None:
    large = b'{"agent_id": "agt_1", "context": {"a": "' + b"x" * 17_000 + b'"}, "metadata": []}'
    deep = b'{"agent_id": "agt_1", "context": {"a": ' + b"[" * 70 + b"]" * 70 + b"}}"

    assert faults_of(large, CreateSession) == [("/context", "too-large"), ("/metadata", "wrong-type")]
    assert [code for _, code in faults_of(deep, CreateSession)] == ["too-deep"]


def test_values_inside_a_free_object_are_judged_too() -> None:
    context = b'{"a/b": [1, "\\u0000"], "k\\u0000": 9223372036854775808, "d": 1, "d": 2}'
    raw = b'{"agent_id": "a", "context": ' + context + b"}"

    assert faults_of(raw, CreateSession) == [
        ("/context/a~1b/1", "nul-character"),
        ("/context/d", "repeated"),
        ("/context/k\x00", "nul-character"),
        ("/context/k\x00", "out-of-range"),
    ]


def test_a_number_that_fits_is_kept_and_one_beyond_is_refused() -> None:
    fits = decode_body(b'{"ordinal": 1, "expected_revision": 2147483647}', Restore, content_type=JSON)

    assert fits.expected_revision == 2**31 - 1
    assert faults_of(b'{"ordinal": -5}', Restore) == [("/ordinal", "out-of-range")]
    assert ("/ordinal", "out-of-range") in faults_of(b'{"ordinal": ' + b"9" * 5_000 + b"}", Restore)
    assert faults_of(b'{"ordinal": 1.5}', Restore) == [("/ordinal", "wrong-type")]
    assert faults_of(b'{"ordinal": true}', Restore) == [("/ordinal", "wrong-type")]
    assert ("/ordinal", "out-of-range") in faults_of(b'{"ordinal": NaN}', Restore)


@pytest.mark.parametrize("raw", [b"{}", b'{"turn_id": "trn_1", "to": "start"}'])
def test_a_rewind_goes_to_exactly_one_place(raw: bytes) -> None:
    assert faults_of(raw, Rewind) == [("", "exactly-one-of")]


def test_a_rewind_to_a_turn_or_to_the_start_is_taken() -> None:
    assert decode_body(b'{"turn_id": "trn_1"}', Rewind, content_type=JSON).turn_id == "trn_1"
    assert decode_body(b'{"to": "start"}', Rewind, content_type=JSON).to == "start"


@pytest.mark.parametrize("raw", [b"[]", b"null", b'"text"', b"5"])
def test_a_body_that_is_no_object_has_one_fault(raw: bytes) -> None:
    assert faults_of(raw, AppendMessage) == [("", "wrong-type")]


def test_an_empty_body_is_an_empty_object_where_nothing_is_required() -> None:
    assert decode_body(b"", Retry, content_type=None) == Retry()
    assert faults_of(b"", AppendMessage) == [("/text", "missing")]
    assert faults_of(b"", Rewind) == [("", "exactly-one-of")]


def test_a_body_of_another_media_type_is_not_read() -> None:
    with pytest.raises(UnsupportedMediaType):
        decode_body(b"text=hello", AppendMessage, content_type="application/x-www-form-urlencoded")


def test_a_patch_tells_null_from_left_out() -> None:
    patch = decode_body(b'{"name": null, "metadata": {"a": null}}', PatchSession, content_type=JSON)

    assert (patch.name, patch.metadata) == (None, {"a": None})
    assert decode_body(b"{}", PatchSession, content_type=JSON).name is msgspec.UNSET


def test_the_answer_stays_small_however_bad_the_input() -> None:
    key = "k" * 10_000
    raw = msgspec.json.encode({key: 0, **{f"unknown{number}": 0 for number in range(1_000)}})

    with pytest.raises(Invalid) as refused:
        decode_body(raw, AppendMessage, content_type=JSON)

    assert len(refused.value.faults) == FAULTS_MAX
    assert len(msgspec.json.encode(refused.value.problem(status=422))) < 20_000


_STRUCTS = [
    getattr(requests, name)
    for name in (
        "CreateSession",
        "PatchSession",
        "AppendMessage",
        "Rewind",
        "Restore",
        "Regenerate",
        "End",
        "Fork",
    )
]
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None, categories=None))
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_FIELDS = sorted({field for struct in _STRUCTS for field in struct.__struct_fields__})


@settings(max_examples=150, deadline=None)
@given(
    struct=st.sampled_from(_STRUCTS),
    body=st.dictionaries(st.sampled_from(_FIELDS) | st.text(max_size=5), _VALUES, max_size=5),
)
def test_any_object_is_taken_or_answered_with_faults_that_can_be_sent(
    struct: type[msgspec.Struct], body: dict[str, Any]
) -> None:
    raw = json.dumps(body).encode()

    answer = answer_to(raw, struct)

    assert answer is None or answer["errors"]


@settings(max_examples=150, deadline=None)
@given(raw=st.binary(max_size=60), struct=st.sampled_from(_STRUCTS))
def test_any_bytes_are_taken_or_refused_on_purpose(raw: bytes, struct: type[msgspec.Struct]) -> None:
    answer = answer_to(raw, struct)

    assert answer is None or answer["status"] in (400, 422)
