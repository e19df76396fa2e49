"""Text as it can be stored."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.models.registry import Models
from api.models.text import REPLACEMENT, StorableStream, storable
from tests.models.calls import call
from tests.providers.server import FakeProvider, Plan

ANY_TEXT = st.text(
    alphabet=st.sampled_from(["a", "\x00", "\ud83d", "\ude00", "é", "\U0001f600"]), max_size=12
)


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("plain", "plain"),
        ("é\U0001f600", "é\U0001f600"),
        ("a\x00b", f"a{REPLACEMENT}b"),
        ("\ud83d\ude00", "\U0001f600"),
        ("a\ud83d", f"a{REPLACEMENT}"),
        ("\ude00é", f"{REPLACEMENT}é"),
    ],
)
def test_what_cannot_be_stored_is_joined_or_replaced(text: str, stored: str) -> None:
    assert storable(text) == stored


@settings(max_examples=200)
@given(pieces=st.lists(ANY_TEXT, max_size=6))
def test_pieces_give_the_text_that_the_whole_gives(pieces: list[str]) -> None:
    stream = StorableStream()

    said = "".join(stream.feed(piece) for piece in pieces) + stream.end()

    assert said == storable("".join(pieces))
    assert "\x00" not in said
    said.encode()


async def test_a_reply_of_a_provider_can_always_be_stored(models: Models, provider: FakeProvider) -> None:
    client, _ = models.resolve("local:m-1")
    provider.plans.append(Plan(text="a\x00 \ud83d b"))

    heard = await call(client)

    assert heard.text == f"a{REPLACEMENT} {REPLACEMENT} b"


async def test_half_a_character_at_the_very_end_is_told_as_such(
    models: Models, provider: FakeProvider
) -> None:
    client, _ = models.resolve("local:m-1")
    provider.plans.append(Plan(text="end \ud83d"))

    assert (await call(client)).text == f"end {REPLACEMENT}"


async def test_an_error_message_can_always_be_stored(models: Models, provider: FakeProvider) -> None:
    client, _ = models.resolve("local:m-1")
    provider.plans.append(Plan(status=400, error_message="bad \x00 \ud83d"))

    heard = await call(client)

    assert heard.error is not None
    assert heard.error.message == f"bad {REPLACEMENT} {REPLACEMENT}"
