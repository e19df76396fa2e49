"""What one turn may take."""

import msgspec


class TurnLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one turn may take."""

    lease_seconds: float = 15
    heartbeat_seconds: float = 5
    turn_seconds: float = 120
    attempts_max: int = 3
    context_tokens_default: int = 8_192
    """The window of models whose size nobody has told us."""
    stream_breaks_max: int = 1
    """How often a call whose stream broke in the middle is made again, as a call of its own."""
    settle_seconds: float = 30
    """How long to go on trying to write a settlement while the database does not answer."""
