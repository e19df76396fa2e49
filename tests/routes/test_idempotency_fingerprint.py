"""What makes two requests the same."""

import pytest

from api.routes.idempotency import fingerprint
from api.routes.schemas.requests import AppendMessage

PATH = "/v1/sessions/ses_1/messages"


def test_the_same_request_has_the_same_fingerprint() -> None:
    one = AppendMessage(text="Hello", expected_revision=7)
    other = AppendMessage(text="Hello", expected_revision=8, if_active="reject")

    assert fingerprint("POST", PATH, one) == fingerprint("post", PATH, other)
    assert fingerprint("POST", PATH, one) == fingerprint("POST", PATH, {"text": "Hello"})
    assert fingerprint("POST", PATH, None) == fingerprint("POST", PATH, {"expected_revision": 3})


def test_order_of_keys_and_spelling_of_numbers_make_no_difference() -> None:
    one = {"a": 1, "b": [1.0, {"x": 100, "y": -0.0}]}
    other = {"b": [1, {"y": 0, "x": 1e2}], "a": 1.0}

    assert fingerprint("POST", PATH, one) == fingerprint("POST", PATH, other)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", PATH, {"text": "a"}),
        ("POST", PATH + "x", {"text": "a"}),
        ("POST", PATH, {"text": "b"}),
        ("POST", PATH, {"text": "a", "nested": {"expected_revision": 1}}),
        ("POST", PATH, {"text": True}),
        ("POST", PATH, None),
    ],
)
def test_any_other_request_has_another(method: str, path: str, body: dict[str, object] | None) -> None:
    assert fingerprint(method, path, body) != fingerprint("POST", PATH, {"text": "a"})


def test_values_that_only_look_alike_are_told_apart() -> None:
    values = [True, 1, "1", 1.5, None, [], {}, 2**53 + 1, float(2**60), 1e300]

    assert len({fingerprint("POST", PATH, {"a": value}) for value in values}) == len(values)
