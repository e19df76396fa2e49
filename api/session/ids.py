"""Wire ids: a prefix that names the kind, then the 32 hex digits of a UUID (`trn_0198c2...`)."""

import re
from enum import StrEnum
from functools import lru_cache
from uuid import UUID


class Kind(StrEnum):
    """The prefixes, one per kind of thing."""

    SESSION = "ses"
    TURN = "trn"
    RUN = "run"
    STEP = "stp"
    INTERACTION = "int"
    """Of a call that was captured; one of a session goes by its step."""
    APPROVAL = "apv"
    RULE = "rul"
    AGENT = "agt"
    ORGANIZATION = "org"
    USAGE = "use"
    KEY = "key"
    INSTALLATION_KEY = "ink"


_DIGITS = re.compile(r"[0-9a-f]{32}")


def to_wire(kind: Kind, value: UUID) -> str:
    """Write `value` as a wire id of this kind."""
    return f"{kind.value}_{value.hex}"


@lru_cache(maxsize=4096)
def from_wire(kind: Kind, wire_id: str) -> UUID | None:
    """Read a wire id of this kind; None when it is not one, so that callers answer as for a missing id."""
    prefix, _, digits = wire_id.partition("_")
    if prefix != kind.value or not _DIGITS.fullmatch(digits):
        return None
    return UUID(hex=digits)
