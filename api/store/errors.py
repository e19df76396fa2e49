"""Why the store did not do what was asked, apart from the core's refusals."""

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import asyncpg

from api.session.conflicts import Advice
from api.session.document import Event

if TYPE_CHECKING:
    from api.store.base import BudgetState

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
    # A standby, until it is promoted, or what was the primary before.
    asyncpg.ReadOnlySQLTransactionError,
)
"""The database is away, overloaded, too slow or takes no writes: nothing is known to be wrong with a call."""


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


class DraftConflict(Exception):
    """An agent's draft is not the one that the caller has seen; nothing has changed."""

    def __init__(self, *, expected: int | None, actual: int) -> None:
        super().__init__(f"the draft is at revision {actual}, not {expected}")
        self.expected = expected
        """0: that there is none; None: that there is one."""
        self.actual = actual
        """0: there is none."""


class KeyReused(Exception):
    """The idempotency key belongs to a call with another method, path or body."""

    def __init__(self, key: str) -> None:
        super().__init__("the idempotency key was used for another request")
        self.key = key


class KeyNotInForce(Exception):
    """An API key that is revoked or expired gets no new secret."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"key {key_id} is revoked or expired")
        self.key_id = key_id


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


class BudgetExceeded(Exception):
    """A hard limit is used up: no turn begins until it resets, is raised, or calls under way cost less."""

    def __init__(self, budget: "BudgetState") -> None:
        whose = "the organization" if budget.key_id is None else f"key {budget.key_id}"
        super().__init__(
            f"the budget of {whose} ({budget.period}) is used up: {budget.spent:f} spent and "
            f"{budget.reserved:f} reserved of {budget.limit:f} USD"
        )
        self.budget = budget


class PriceInThePast(Exception):
    """The price would begin where rows of the ledger say otherwise already."""

    def __init__(self, *, seconds_max: int) -> None:
        super().__init__(f"a price begins at most {seconds_max} s in the past")
        self.seconds_max = seconds_max


class PriceSuperseded(Exception):
    """The newest price of the pattern begins no earlier; a price is followed, never edited."""

    def __init__(self, *, valid_from: datetime) -> None:
        super().__init__(f"the newest price of this pattern begins at {valid_from.isoformat()}")
        self.valid_from = valid_from


class UnknownTimeZone(Exception):
    """The database knows no time zone of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no such time zone: {name}")
        self.name = name


class RequestInFlight(Exception):
    """Another call holds the session (or the same idempotency key) for longer than we wait."""

    def __init__(self) -> None:
        super().__init__("another request is being carried out; send the same again")


class FileFault(NamedTuple):
    """One thing that is wrong with a session file."""

    pointer: str
    """Where, as a JSON pointer into the file."""
    message: str


class FileRefused(Exception):
    """A session file does not hold a session as we could have written it; nothing was imported."""

    def __init__(self, faults: tuple[FileFault, ...]) -> None:
        super().__init__("; ".join(f"{fault.pointer}: {fault.message}" for fault in faults))
        self.faults = faults


class AlreadyHere(Exception):
    """The organization has something of an id that a session file brings; nothing was imported."""

    def __init__(self, what: str, wire_id: str | None) -> None:
        super().__init__(f"the organization has, or had, a {what} of the same id")
        self.what = what
        """`session`, `turn`, `step` or `approval`."""
        self.wire_id = wire_id
        """Which; None unless it is the session."""


class AgentDiffers(Exception):
    """The organization's agent of this id and version is another one than that of the file."""

    def __init__(self, *, agent_id: str, version: int) -> None:
        super().__init__(f"version {version} of the agent {agent_id} is another definition here")
        self.agent_id = agent_id
        self.version = version


class SecretsUnavailable(Exception):
    """Secrets cannot be encrypted or decrypted; the message says why, and holds no secret."""


class TooManySecrets(Exception):
    """The organization has as many secrets as it may have."""

    def __init__(self, count_max: int) -> None:
        super().__init__(f"an organization has at most {count_max} secrets")
        self.count_max = count_max
