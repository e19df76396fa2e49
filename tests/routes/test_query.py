"""Query parameters."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.routes.errors import Invalid
from api.routes.query import parse_query
from api.routes.schemas import queries
from api.routes.schemas.queries import RewindPreviewQuery, SessionListQuery, SessionQuery, TurnListQuery


def faults_of(query: str, struct: type[msgspec.Struct]) -> list[tuple[str, str]]:
    with pytest.raises(Invalid) as refused:
        parse_query(query, struct)
    msgspec.json.encode(refused.value.problem(status=422))
    return [(fault.pointer, fault.code) for fault in refused.value.faults]


def test_parameters_are_read_as_what_they_are() -> None:
    query = parse_query(
        "limit=7&state=open&active_since=2026-01-02T03:04:05%2B01:00&q=A%20b", SessionListQuery
    )

    assert query == SessionListQuery(
        limit=7, state="open", active_since=datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC), q="A b"
    )


def test_no_parameters_are_the_defaults() -> None:
    assert parse_query("", SessionListQuery) == SessionListQuery(limit=50)
    assert parse_query(b"", SessionQuery) == SessionQuery()


def test_a_parameter_may_be_a_word_that_python_keeps_for_itself() -> None:
    assert parse_query("from=3", TurnListQuery).start == 3


def test_all_faults_are_told_at_once() -> None:
    query = "limit=0&limit=5&state=asleep&wat=1&q=%00&active_since=yesterday"

    assert faults_of(query, SessionListQuery) == [
        ("?limit", "out-of-range"),
        ("?limit", "repeated"),
        ("?q", "nul-character"),
        ("?state", "not-allowed"),
        ("?wat", "unknown-parameter"),
    ]
    assert faults_of("active_since=yesterday", SessionListQuery) == [("?active_since", "malformed")]
    assert faults_of("active_since=2026-01-02T03:04:05", SessionListQuery) == [("?active_since", "malformed")]


@pytest.mark.parametrize("limit", ["", "x", "1.0", "1e1", "+5", " 5", "0x1", "null", "9" * 30, "٣"])
def test_an_integer_is_written_in_plain_digits(limit: str) -> None:
    assert faults_of(f"limit={limit.replace('+', '%2B')}", SessionListQuery) == [("?limit", "wrong-type")]


@pytest.mark.parametrize("limit", ["-1", "0", "201", "9223372036854775807"])
def test_a_limit_is_bounded(limit: str) -> None:
    assert faults_of(f"limit={limit}", SessionListQuery) == [("?limit", "out-of-range")]


@pytest.mark.parametrize("query", ["", "turn_id=trn_1&to=start"])
def test_a_preview_needs_exactly_one_place(query: str) -> None:
    assert faults_of(query, RewindPreviewQuery) == [("?", "exactly-one-of")]


_STRUCTS = [
    queries.SessionListQuery,
    queries.SessionQuery,
    queries.UsageEntriesQuery,
    queries.RewindPreviewQuery,
]


@settings(max_examples=150, deadline=None)
@given(
    query=st.text(alphabet="limtqafer=&%+0123456789 \ud800\x00é", max_size=40),
    struct=st.sampled_from(_STRUCTS),
)
def test_any_query_is_read_or_refused_on_purpose(query: str, struct: type[msgspec.Struct]) -> None:
    try:
        parse_query(query, struct)
    except Invalid as refused:
        msgspec.json.encode(refused.problem(status=422))
