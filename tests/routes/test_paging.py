"""Page tokens."""

from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.routes.errors import MalformedPageToken
from api.routes.paging import read_integer, read_uuid, write_page_token

ID = UUID("0198c2a0-0000-7000-8000-000000000001")


@settings(max_examples=50)
@given(id_=st.uuids(), number=st.integers(-(2**63), 2**63 - 1))
def test_a_token_gives_its_cursor_back(id_: UUID, number: int) -> None:
    assert read_uuid(write_page_token(id_, scope="sessions"), scope="sessions") == id_
    assert read_integer(write_page_token(number, scope="futures"), scope="futures") == number


def test_a_token_can_stand_in_a_url() -> None:
    token = write_page_token(ID, scope="sessions")

    assert token.replace("-", "").replace("_", "").isalnum()


def test_a_token_of_another_list_is_refused() -> None:
    with pytest.raises(MalformedPageToken):
        read_uuid(write_page_token(ID, scope="agents"), scope="sessions")
    with pytest.raises(MalformedPageToken):
        read_uuid(write_page_token(5, scope="sessions"), scope="sessions")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "====",
        "a b",
        "é",
        "AAAA",
        write_page_token(ID, scope="sessions")[:-1],
        write_page_token(ID, scope="sessions") + "A",
    ],
)
def test_a_token_that_was_never_given_is_refused(token: str) -> None:
    with pytest.raises(MalformedPageToken):
        read_uuid(token, scope="sessions")


@settings(max_examples=100)
@given(token=st.text(max_size=60))
def test_any_other_text_is_refused(token: str) -> None:
    with pytest.raises(MalformedPageToken):
        read_integer(token, scope="sessions")
