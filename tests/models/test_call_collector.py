"""Calls put together from pieces."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.models.base import FinishReason
from api.models.tool_calls import CHARACTERS_MAX, CallCollector


def entry(
    arguments: str = "",
    *,
    index: int | None = None,
    id: str | None = None,  # noqa: A002 -- the field's name in the protocol
    name: str | None = None,
) -> SimpleNamespace:
    function = SimpleNamespace(name=name, arguments=arguments)
    return SimpleNamespace(index=index, id=id, function=function)


def collected(*chunks: list[SimpleNamespace]) -> list[tuple[str, str]]:
    collector = CallCollector()
    for chunk in chunks:
        collector.feed(chunk)
    return [(call.name, call.arguments) for call in collector.calls()]


ARGUMENTS = st.dictionaries(
    st.text(alphabet='a"{}\\', max_size=3),
    st.text(alphabet='b"{}\\ ', max_size=4) | st.integers() | st.dictionaries(st.just("c"), st.none()),
    max_size=3,
)


@settings(max_examples=200)
@given(
    calls=st.lists(st.tuples(st.sampled_from(["lookup", "book"]), ARGUMENTS), max_size=4),
    size=st.integers(1, 6),
    has_index=st.booleans(),
    has_id=st.booleans(),
    repeats_name=st.booleans(),
)
def test_calls_cut_anywhere_come_out_as_they_were(
    calls: list[tuple[str, dict[str, Any]]], size: int, has_index: bool, has_id: bool, repeats_name: bool
) -> None:
    written = [(name, msgspec.json.encode(value).decode()) for name, value in calls]
    chunks = [
        [
            entry(
                text[at : at + size],
                index=number if has_index else None,
                id=f"id_{number}" if has_id and at == 0 else None,
                name=name if repeats_name or at == 0 else None,
            )
        ]
        for number, (name, text) in enumerate(written)
        for at in range(0, len(text), size)
    ]

    assert collected(*chunks) == written


def test_entries_of_one_chunk_are_different_calls() -> None:
    chunk = [
        entry('{"a":1}', index=0, name="lookup"),
        entry('{"a":1}', index=0, name="lookup"),
        entry("", name="book"),
        entry("", name="book"),
    ]

    assert collected(chunk) == [("lookup", '{"a":1}')] * 2 + [("book", "")] * 2


def test_a_name_may_come_behind_the_id() -> None:
    assert collected([entry(index=0, id="a")], [entry("{}", index=0, name="lookup")]) == [("lookup", "{}")]


def test_an_id_without_index_finds_its_call() -> None:
    chunks = (
        [entry("{", id="a", name="lookup"), entry("{", id="b", name="book")],
        [entry("}", id="a"), entry("}", id="b")],
    )

    assert collected(*chunks) == [("lookup", "{}"), ("book", "{}")]


def test_a_whole_call_told_again_under_its_id_is_one_call() -> None:
    whole = entry('{"a":1}', id="a", name="lookup")

    assert collected([whole], [whole]) == [("lookup", '{"a":1}')]


def test_calls_under_one_id_get_ids_of_their_own_that_stay() -> None:
    collector = CallCollector()
    collector.feed([entry("{}", index=0, id="a", name="lookup"), entry("{}", index=1, id="a", name="book")])

    first = [call.id for call in collector.calls()]

    assert first == [call.id for call in collector.calls()]
    assert first[0] == "a"
    assert first[1].startswith("call_")


def test_pieces_without_a_call_and_calls_without_a_name_are_none() -> None:
    assert collected([entry("{}")], [entry("{}", index=0)], [entry("{}", id="a")]) == []


@pytest.mark.parametrize(
    ("reason", "ending"),
    [
        (FinishReason.STOP, FinishReason.TOOL_CALLS),
        (FinishReason.OTHER, FinishReason.TOOL_CALLS),
        (FinishReason.LENGTH, FinishReason.LENGTH),
        (FinishReason.FILTER, FinishReason.FILTER),
    ],
)
def test_an_answer_with_calls_ends_with_them_unless_it_was_cut_short(
    reason: FinishReason, ending: FinishReason
) -> None:
    collector = CallCollector()
    collector.feed([entry("{}", index=0, name="lookup")])

    found, calls = collector.ending(reason)

    assert found is ending
    assert bool(calls) is (ending is FinishReason.TOOL_CALLS)


def test_arguments_without_end_are_too_long() -> None:
    collector = CallCollector()
    for _ in range(9):
        collector.feed([entry("x" * (CHARACTERS_MAX // 10), index=0, name="lookup")])
    assert not collector.is_too_long

    collector.feed([entry("x" * (CHARACTERS_MAX // 5), index=0)])

    assert collector.is_too_long
    assert collector.ending(FinishReason.STOP) == (FinishReason.LENGTH, ())
