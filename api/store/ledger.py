"""Rows of the ledger as the store gives them out, with wire ids."""

from datetime import datetime
from decimal import Decimal

import msgspec

from api.session import ids
from api.session.document import Actor
from api.store import rows
from db import usage


class UsageEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One model call, or a correction of one; never changed."""

    seq: int
    id: str
    session_id: str
    turn_id: str
    step_id: str
    attempt: int
    corrects_id: str | None
    """The entry that this one corrects by signed differences; None for an original."""
    speaker: str
    purpose: str
    provider: str
    model: str
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    unit_prices: msgspec.Raw | None
    """The prices as JSON; None when none was known, and when nothing was charged."""
    price_source: str | None
    cost: Decimal | None
    """None when no price was known."""
    currency: str
    source: str
    outcome: str
    billable: bool
    billable_reason: str
    latency_ms: int | None
    created_at: datetime
    key_id: str | None
    """The API key that created the turn; None for turns of our own processes."""
    correction_number: int | None
    """1, 2, 3, ... among the corrections of one entry; None for an original."""
    corrected_by: Actor | None
    """Who corrected; None for originals, and where a runner told late what its own call cost."""
    correction_reason: str | None


def usage_entry(row: usage.EntryRow) -> UsageEntry:
    """An entry as it was stored."""
    return UsageEntry(
        seq=row.seq,
        id=ids.to_wire(ids.Kind.USAGE, row.id),
        session_id=ids.to_wire(ids.Kind.SESSION, row.session_id),
        turn_id=ids.to_wire(ids.Kind.TURN, row.turn_id),
        step_id=ids.to_wire(ids.Kind.STEP, row.step_id),
        attempt=row.attempt,
        corrects_id=None if row.corrects_id is None else ids.to_wire(ids.Kind.USAGE, row.corrects_id),
        speaker=row.speaker,
        purpose=row.purpose,
        provider=row.provider,
        model=row.model,
        input_tokens=row.input_tokens,
        cached_tokens=row.cached_tokens,
        cache_write_tokens=row.cache_write_tokens,
        output_tokens=row.output_tokens,
        reasoning_tokens=row.reasoning_tokens,
        unit_prices=None if row.unit_prices is None else msgspec.Raw(row.unit_prices),
        price_source=row.price_source,
        cost=row.cost,
        currency=row.currency,
        source=row.source,
        outcome=row.outcome,
        billable=row.billable,
        billable_reason=row.billable_reason,
        latency_ms=row.latency_ms,
        created_at=row.created_at,
        key_id=None if row.key_id is None else ids.to_wire(ids.Kind.KEY, row.key_id),
        correction_number=None if row.corrects_id is None else row.correction_number,
        corrected_by=None if row.corrected_by is None else rows.actor(row.corrected_by),
        correction_reason=row.correction_reason,
    )
