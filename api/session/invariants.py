"""The law of a session, one line per clause."""

from .errors import InvariantViolated


def require(holds: bool, clause: str) -> None:
    """Raise InvariantViolated, naming the clause, unless it holds."""
    if not holds:
        raise InvariantViolated(clause)
