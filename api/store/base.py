"""What the parts of the store share: who calls, what a commit tells, and the pool that all run on."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import msgspec

from api.events import Hub
from api.session import ids
from api.session.document import Actor, DiscardedFuture, Session, Turn
from api.store.errors import NotFound
from api.store.scopes import ALL_SCOPES, Scope
from db.pool import Pool

PAGE_TURNS_MAX = 200
"""Turns in one answer, at most."""

CHANGES_MAX = 50
"""Changes that a conflict names, at most."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """On whose behalf the store works: the boundary of every query, and who is recorded."""

    organization_id: UUID
    actor: Actor
    scopes: frozenset[Scope] = ALL_SCOPES
    """What the key was made for; our own processes may do everything."""
    expires_at: datetime | None = None
    """When the secret that was sent is refused; None for never."""


class BudgetState(msgspec.Struct, frozen=True, kw_only=True):
    """A budget as it stands."""

    key_id: str | None
    """The key whose turns it is for; None for all of the organization."""
    period: str
    """`day`, `month` or `total`."""
    time_zone: str
    limit: Decimal | None
    """None for a budget that only warns."""
    warn_at: Decimal | None
    """None for one that does not warn."""
    reserve_per_call: Decimal
    spent: Decimal
    """In this period, from the ledger."""
    reserved: Decimal
    """What the calls under way are taken to cost."""
    call_count: int
    """Calls under way."""
    starts_at: datetime | None
    resets_at: datetime | None
    """Both None for all time."""
    set_at: datetime
    set_by: Actor

    @property
    def is_exceeded(self) -> bool:
        """No turn may begin."""
        return self.limit is not None and self.spent + self.reserved >= self.limit

    @property
    def is_near(self) -> bool:
        """The point is reached from which on calls are answered with a warning."""
        return self.warn_at is not None and self.spent + self.reserved >= self.warn_at


class Idempotency(msgspec.Struct, frozen=True, kw_only=True):
    """The caller's key, and the digest of what it was sent with."""

    key: str
    fingerprint: bytes


class StoredAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as it is kept for repetitions: byte for byte."""

    status: int
    headers: dict[str, str]
    body: bytes


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A session's document, as much of it as was asked for."""

    session: Session
    context: msgspec.Raw
    metadata: msgspec.Raw
    turns: tuple[Turn, ...]
    """The newest turns on the line, by position."""
    discarded_futures: tuple[DiscardedFuture, ...]
    """The newest futures that can be restored, by ordinal."""
    is_complete: bool
    """All turns on the line and all futures are given."""


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    """What changed in a session behind a revision."""

    session: Session
    context: msgspec.Raw
    metadata: msgspec.Raw
    line_from: int | None
    """The lowest position whose occupant or content changed; None when none did."""
    turns: tuple[Turn, ...]
    """The turns on the line from there, at most PAGE_TURNS_MAX."""
    more: bool
    """There are further turns behind these."""
    document: Reading | None = None
    """The document as it then was; only for a new session, and for callers that asked for it."""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """The command was carried out."""

    delta: Delta
    answer: StoredAnswer | None = None
    """What was stored for repetitions; None without a key, and where a repetition joins the turn."""
    turn_id: str | None = None
    """The turn that the command made, if it made one."""
    near_budgets: tuple[BudgetState, ...] = ()
    """Budgets of the caller that are near their end; only for a command that made a turn pending."""


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """The same call was carried out before; exactly one of the two is given."""

    answer: StoredAnswer | None = None
    turn_id: str | None = None
    """The turn that the first call made."""
    base_revision: int = 0
    """The revision that the first call found."""


Render = Callable[[Delta], StoredAnswer]
"""Makes the answer that is kept for repetitions, before the commit that it belongs to."""


def utc_now() -> datetime:
    """The time, where nobody gives another clock."""
    return datetime.now(UTC)


class Base:
    """A part of the store: a pool, a clock, a source of ids, and whom to tell about commits."""

    def __init__(
        self,
        pool: Pool,
        hub: Hub,
        *,
        clock: Callable[[], datetime],
        new_id: Callable[[], UUID],
    ) -> None:
        self._pool = pool
        self._hub = hub
        self._clock = clock
        self._new_id = new_id

    def _wire_id(self, kind: ids.Kind) -> str:
        return ids.to_wire(kind, self._new_id())


def row_id(kind: ids.Kind, wire_id: str, what: str) -> UUID:
    """The database's form of a wire id; what is no such id is not found, like any unknown one.

    Raises:
        NotFound: naming `what`.
    """
    value = ids.from_wire(kind, wire_id)
    if value is None:
        raise NotFound(what)
    return value
