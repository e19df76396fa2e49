"""Wire ids."""

from uuid import UUID

import pytest

from api.session.ids import Kind, from_wire, to_wire

VALUE = UUID("0198c2a1-0000-7000-8000-000000000001")


@pytest.mark.parametrize("kind", list(Kind))
def test_reading_undoes_writing(kind: Kind) -> None:
    assert from_wire(kind, to_wire(kind, VALUE)) == VALUE


@pytest.mark.parametrize(
    "wire_id",
    [
        "",
        "trn",
        "trn_",
        f"ses_{VALUE.hex}",
        f"trn_{VALUE}",
        f"trn_{VALUE.hex.upper()}",
        f"trn_{VALUE.hex}0",
        f"trn_{VALUE.hex}\n",
        f"TRN_{VALUE.hex}",
    ],
)
def test_what_is_no_wire_id_of_the_kind_is_none(wire_id: str) -> None:
    assert from_wire(Kind.TURN, wire_id) is None
