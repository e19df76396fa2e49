"""Why the store did not do what was asked, apart from the core's refusals."""

import asyncpg

from api.session.conflicts import Advice
from api.session.document import Event

OUTAGES: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)
"""The database is away, overloaded or too slow: nothing is known to be wrong with what was asked."""


class NotFound(Exception):
    """The organization has no such thing (any more). What is foreign is told the same way."""

    def __init__(self, what: str) -> None:
        super().__init__(f"no such {what}")
        self.what = what
        """`session`, `turn`, `agent`, ... in the words of the glossary."""


class RevisionConflict(Exception):
    """The revision moved under the caller; nothing has changed."""

    def __init__(
        self, *, session_id: str, expected: int, actual: int, changes: tuple[Event, ...], advice: Advice
    ) -> None:
        super().__init__(f"session {session_id} is at revision {actual}, not {expected}")
        self.session_id = session_id
        self.expected = expected
        self.actual = actual
        self.changes = changes
        """What happened behind the expected revision, in order, at most CHANGES_MAX of it."""
        self.advice = advice


class KeyReused(Exception):
    """The idempotency key belongs to a call with another method, path or body."""

    def __init__(self, key: str) -> None:
        super().__init__("the idempotency key was used for another request")
        self.key = key


class NothingToCorrect(Exception):
    """The ledger says already what the correction would make it say."""

    def __init__(self) -> None:
        super().__init__("the entry comes to these figures already")


class Inconsistent(Exception):
    """The corrected figures contradict each other: a part would be larger than its whole."""

    def __init__(self, part: str, whole: str) -> None:
        super().__init__(f"{part} would be more than {whole}")
        self.part = part
        self.whole = whole


class UnknownTimeZone(Exception):
    """The database knows no time zone of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no such time zone: {name}")
        self.name = name


class RequestInFlight(Exception):
    """Another call holds the session (or the same idempotency key) for longer than we wait."""

    def __init__(self) -> None:
        super().__init__("another request is being carried out; send the same again")
