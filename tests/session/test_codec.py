"""Headers and turns as stored bytes."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from api.session import codec
from api.session.commands import Partial
from api.session.document import FORMAT, Session, StepSummary, Turn, Usage
from api.session.errors import CorruptDocument
from tests.session.in_memory import ERROR, START, InMemorySession, a_reply

USAGE = Usage(input_tokens=812, output_tokens=96, cost=Decimal("0.00120400"))
STEP = StepSummary(id="stp_1", kind="model", outcome="completed", started_at=START, usage=USAGE)


def talked() -> InMemorySession:
    """A session with a turn of every final state, one active, and text that needs care."""
    session = InMemorySession()
    session.say("Grüße \U0001f44b \u2028 \x01", speaker="Bo")
    session.answer("Ciao.", node="lobby", variables={"x": [1, 2.5, None]}, steps=(STEP,), usage=USAGE)
    session.say()
    session.fail(usage=Usage(cost=None, unknown_count=1))
    session.say()
    session.cancel("trn_3", partial=Partial(replies=(a_reply("Hel"),)))
    session.say()
    return session


def plain(value: Session | Turn) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    return decoded


def test_decode_undoes_encode() -> None:
    document = talked().document

    assert codec.decode_session(codec.encode_session(document.session)) == document.session
    for turn in document.turns:
        assert codec.decode_turn(codec.encode_turn(turn)) == turn


def test_money_is_stored_as_a_string_with_every_digit() -> None:
    stored = plain(talked().document.turns[0])

    assert stored["usage"]["cost"] == "0.00120400"


def test_text_is_read_as_well_as_bytes() -> None:
    turn = talked().document.turns[0]

    assert codec.decode_turn(codec.encode_turn(turn).decode()) == turn


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`"),
        (b"{}", "format"),
        (b'{"format": "1"}', "Expected `int`"),
        (b'{"format": 1}', "missing required field"),
        (b'{"format": 2}', "format 2 is newer than 1"),
        (b'{"format": 0}', "nothing upgrades format 0"),
        (b'{"format": -1}', "nothing upgrades format -1"),
        (b'{"format": 1, "id": "\xff"}', "utf-8"),
        ('{"format": 1, "id": "\ud800"}', "surrogates"),
    ],
)
@pytest.mark.parametrize("decode", [codec.decode_session, codec.decode_turn])
def test_bytes_that_are_none_of_ours_are_refused(
    decode: Callable[[bytes | str], object], stored: bytes | str, reason: str
) -> None:
    with pytest.raises(CorruptDocument) as corruption:
        decode(stored)

    assert reason in corruption.value.reason
    assert corruption.value.what in str(corruption.value)


def test_a_field_that_this_release_does_not_know_is_refused() -> None:
    stored = plain(talked().document.session) | {"mood": "good"}

    with pytest.raises(CorruptDocument, match="unknown field `mood`"):
        codec.decode_session(msgspec.json.encode(stored))


def test_what_is_read_is_put_to_the_law() -> None:
    document = talked().document

    with pytest.raises(CorruptDocument, match=r"a stored header cannot be read: .*the cursor is on the line"):
        codec.decode_session(msgspec.json.encode(plain(document.session) | {"cursor": 99}))
    with pytest.raises(CorruptDocument, match=r"a stored turn cannot be read: .*only a failed turn says why"):
        codec.decode_turn(msgspec.json.encode(plain(document.turns[0]) | {"error": plain_error()}))


def test_an_older_format_is_lifted_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    turn, session = talked().document.turns[0], talked().document.session
    monkeypatch.setitem(codec.TURN_UPGRADES, -1, lambda old: old | {"id": old["id"] + "1"})
    monkeypatch.setitem(codec.TURN_UPGRADES, 0, lambda old: old | {"position": old.pop("place")})
    monkeypatch.setitem(codec.SESSION_UPGRADES, 0, lambda old: old | {"name": "lifted"})
    older = plain(turn) | {"format": -1, "id": "trn_", "place": turn.position}
    del older["position"]

    lifted = codec.decode_turn(msgspec.json.encode(older))
    lifted_session = codec.decode_session(msgspec.json.encode(plain(session) | {"format": 0}))

    assert lifted == turn
    assert lifted_session == msgspec.structs.replace(session, name="lifted", format=FORMAT)


def plain_error() -> object:
    return msgspec.to_builtins(ERROR)
