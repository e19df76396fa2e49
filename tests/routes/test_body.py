"""From bytes to JSON values."""

import pytest

from api.routes.body import MERGE_PATCH, check_media_type, parse_json
from api.routes.errors import Invalid, MalformedJson, UnsupportedMediaType


@pytest.mark.parametrize(
    ("raw", "line", "column"),
    [
        (b"{", 1, 2),
        (b'{"a": 1,\n x}', 2, 2),
        (b'{"a": 1} 2', 1, 10),
        (b'\n"\xff"', 2, 2),
        (b"\xef\xbb\xbf{}", 1, 1),
        (b'"a\x00"', 1, 3),
    ],
)
def test_text_that_is_not_json_is_refused_with_its_place(raw: bytes, line: int, column: int) -> None:
    with pytest.raises(MalformedJson) as refused:
        parse_json(raw)

    assert (refused.value.line, refused.value.column) == (line, column)


def test_nesting_beyond_the_parser_is_a_fault_and_no_crash() -> None:
    with pytest.raises(Invalid) as refused:
        parse_json(b"[" * 100_000 + b"]" * 100_000)

    assert [fault.code for fault in refused.value.faults] == ["too-deep"]


def test_an_integer_of_many_digits_is_not_computed() -> None:
    value = parse_json(b"[" + b"9" * 100_000 + b"]")

    assert value[0] > 2**63


def test_a_very_long_object_with_one_repeated_key_is_read_in_linear_time() -> None:
    pairs = ",".join(f'"{number}":0' for number in range(20_000))

    value = parse_json(f'{{{pairs},"7":1}}'.encode())

    assert value.names == ("7",)


@pytest.mark.parametrize(
    "given", ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"']
)
def test_json_in_utf8_is_taken(given: str) -> None:
    check_media_type(given, accepted=("application/json",))


@pytest.mark.parametrize(
    "given", [None, "", "text/plain", "application/json; charset=latin-1", "application/jsonx", MERGE_PATCH]
)
def test_any_other_media_type_is_refused(given: str | None) -> None:
    with pytest.raises(UnsupportedMediaType):
        check_media_type(given, accepted=("application/json",))
