"""How a call wants to be handled."""

import pytest

from api.routes.errors import MalformedIdempotencyKey, MalformedOnBehalfOf
from api.routes.negotiation import (
    EVENT_STREAM,
    Preferences,
    choose_media_type,
    parse_bearer,
    parse_idempotency_key,
    parse_on_behalf_of,
    parse_prefer,
    write_applied,
)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], Preferences()),
        (["respond-async"], Preferences(respond_async=True)),
        (["Respond-Async, WAIT=10"], Preferences(respond_async=True, wait_seconds=10)),
        (["respond-async", "wait=10"], Preferences(respond_async=True, wait_seconds=10)),
        (
            ["wait = 10; foo=bar, return=representation"],
            Preferences(wait_seconds=10, returns="representation"),
        ),
        (['wait="10"; x="a,b"; y, return="minimal"'], Preferences(wait_seconds=10, returns="minimal")),
        (["wait=5, wait=6"], Preferences(wait_seconds=5)),
        (["wait=0"], Preferences(wait_seconds=0)),
        (["wait=999999"], Preferences(wait_seconds=999999)),
        (["handling=lenient, priority=9"], Preferences()),
        (["wait=-1"], Preferences()),
        (["wait=1.5"], Preferences()),
        (["wait=" + "9" * 50], Preferences()),
        (["return=everything"], Preferences()),
        (["", ",,", "==", '"', "wait", "=5;;"], Preferences()),
        (['@@@, wait=7, "x'], Preferences(wait_seconds=7)),
    ],
)
def test_preferences_are_read_and_what_is_unknown_is_ignored(
    values: list[str], expected: Preferences
) -> None:
    assert parse_prefer(values) == expected


def test_a_caller_waits_unless_it_says_otherwise() -> None:
    def waits(preferences: Preferences) -> int:
        return preferences.waits_seconds(default_seconds=30, max_seconds=120)

    assert waits(Preferences()) == 30
    assert waits(Preferences(wait_seconds=5)) == 5
    assert waits(Preferences(wait_seconds=999)) == 120
    assert waits(Preferences(respond_async=True)) == 0
    assert waits(Preferences(respond_async=True, wait_seconds=5)) == 5


def test_a_hostile_prefer_costs_nothing() -> None:
    assert parse_prefer(['"' + '\\"' * 30_000, "wait=3"]) == Preferences(wait_seconds=3)


def test_what_was_honoured_is_said() -> None:
    assert write_applied() == {}
    assert write_applied(respond_async=True, wait_seconds=5, returns="minimal") == {
        "Preference-Applied": "respond-async, wait=5, return=minimal"
    }


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("text/event-stream", EVENT_STREAM),
        ("Text/Event-Stream; q=0.5, */*;q=0.1", EVENT_STREAM),
        ("text/*, application/json;q=0.9", EVENT_STREAM),
        ("application/json, text/event-stream", "application/json"),
        ("application/*;q=0.2, text/event-stream;q=0", "application/json"),
        ("image/png", "application/json"),
        (",;q=x,;;", "application/json"),
    ],
)
def test_the_form_that_is_liked_best_is_chosen(accept: str | None, expected: str) -> None:
    assert choose_media_type(accept, ("application/json", EVENT_STREAM)) == expected


@pytest.mark.parametrize("key", ["a", "a b", '"quoted"', "~" * 255])
def test_an_idempotency_key_is_printable_ascii(key: str) -> None:
    assert parse_idempotency_key([key]) == key


@pytest.mark.parametrize("values", [[""], ["a" * 256], ["é"], ["a\tb"], ["a\x7f"], ["a", "a"]])
def test_any_other_idempotency_key_is_malformed(values: list[str]) -> None:
    with pytest.raises(MalformedIdempotencyKey):
        parse_idempotency_key(values)


def test_a_call_may_have_no_idempotency_key() -> None:
    assert parse_idempotency_key([]) is None


def test_on_behalf_of_is_recorded_as_it_was_meant() -> None:
    assert parse_on_behalf_of([]) is None
    assert parse_on_behalf_of(["ada@example.com"]) == "ada@example.com"
    assert parse_on_behalf_of(["Zoë".encode().decode("latin-1")]) == "Zoë"
    assert parse_on_behalf_of(["Zo\xeb"]) == "Zoë"


@pytest.mark.parametrize("values", [[""], ["a" * 256], ["a\x00"], ["a\tb"], ["a", "b"]])
def test_any_other_on_behalf_of_is_malformed(values: list[str]) -> None:
    with pytest.raises(MalformedOnBehalfOf):
        parse_on_behalf_of(values)


@pytest.mark.parametrize(
    ("authorization", "key"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Basic abc", None),
        ("Bearer", None),
        ("Bearer  ", None),
        ("", None),
        (None, None),
    ],
)
def test_a_key_comes_as_a_bearer_token(authorization: str | None, key: str | None) -> None:
    assert parse_bearer(authorization) == key
