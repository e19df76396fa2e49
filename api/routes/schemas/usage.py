"""What callers get of the ledger."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from api.routes.schemas.money import Money, money
from api.store.ledger import UsageEntry

Seq = Annotated[int, Meta(ge=1)]


class UnitPrices(msgspec.Struct, frozen=True, kw_only=True):
    """The prices that a call was charged by, as they were."""

    currency: str
    input_per_million: Money
    """Of input tokens that were neither cached nor written to the cache."""
    cached_per_million: Money
    cache_write_per_million: Money
    output_per_million: Money
    """Of output tokens beside reasoning."""
    reasoning_per_million: Money
    per_call: Money = "0"
    valid_from: datetime | None = None
    """Since when the price is in force; null for prices that are not from our own table."""
    source_version: str | None = None
    """The edition of the price data; null for our own table."""


class UsageEntryView(msgspec.Struct, frozen=True, kw_only=True):
    """One model call, or a correction of one; never changed."""

    seq: Seq
    """Dense within the organization and in commit order: a reader that sees n and n + 2 has missed one."""
    id: str
    session_id: str
    turn_id: str
    step_id: str
    attempt: int
    """Rises when another runner had to take the turn over."""
    corrects_id: str | None
    """The entry that this one corrects by signed differences; null for an original."""
    speaker: str
    purpose: str
    """What the call was for: `reply`, `memory`, `simulator`, ..."""
    provider: str
    model: str
    input_tokens: int
    """Includes cached and cache-write tokens."""
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    """Includes reasoning tokens."""
    reasoning_tokens: int
    unit_prices: UnitPrices | None
    """The entry's own copy of the prices; null when none was known, and when nothing was charged."""
    price_source: str | None
    """Where the prices came from."""
    cost: Money | None
    """Exact; null when no price was known, never 0 for unknown."""
    currency: str
    source: Literal["provider", "estimated", "unknown"]
    """Who counted the tokens."""
    outcome: Literal["completed", "failed", "cancelled"]
    """How the call ended, whatever became of its turn."""
    billable: bool
    billable_reason: str
    latency_ms: int | None
    created_at: datetime


class UsagePage(msgspec.Struct, frozen=True, kw_only=True):
    """Entries of the ledger, by `seq`."""

    items: tuple[UsageEntryView, ...]
    next: int
    """`after` of the next page."""
    head: int
    """The last `seq` of the organization; there is more while `next` is lower."""


class UsageHead(msgspec.Struct, frozen=True, kw_only=True):
    """How far an organization's ledger has come."""

    organization_id: str
    head: int
    """The last `seq`; 0 for an empty ledger."""


class UsageHeads(msgspec.Struct, frozen=True, kw_only=True):
    """The ledgers that the key may read."""

    items: tuple[UsageHead, ...]
    next_page_token: str | None
    """Where the list goes on; null on its last page."""


def usage_entry_view(entry: UsageEntry) -> UsageEntryView:
    """Show an entry of the ledger."""
    fields = msgspec.structs.asdict(entry)
    if entry.unit_prices is not None:
        stored = msgspec.json.decode(entry.unit_prices)
        plain = {
            name: money(Decimal(value)) if name.startswith("per_") or name.endswith("_per_million") else value
            for name, value in stored.items()
        }
        fields["unit_prices"] = msgspec.convert(plain, UnitPrices)
    fields["cost"] = money(entry.cost)
    return UsageEntryView(**fields)
