"""What callers get of the ledger."""

from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from api.routes.schema_components import BLANK
from api.routes.schemas.money import Amount, Money, money
from api.session.document import Actor
from api.store.corrections import EntryChain
from api.store.ledger import UsageEntry
from api.store.summaries import Group, Sums

Seq = Annotated[int, Meta(ge=1)]
Tokens = Annotated[int, Meta(ge=0, le=10**12)]


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
    above_input_tokens: int | None = None
    """The tier of our own price that the call reached; null for none."""
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
    """The entry, always an original, that this one corrects by signed differences; null for an original."""
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
    source: Literal["provider", "estimated", "unknown", "manual"]
    """Who counted the tokens; `manual` for what a person corrected."""
    outcome: Literal["completed", "failed", "cancelled"]
    """How the call ended, whatever became of its turn."""
    billable: bool
    billable_reason: str
    """`completed` and `cancelled` are billable; `failed`, `refused`, `dropped` (by a stop or a lost lease of
    ours) and `lost` are not."""
    latency_ms: int | None
    created_at: datetime
    key_id: str | None
    """The API key that created the turn; null for turns that no key created."""
    correction_number: int | None
    """1, 2, 3, ... among the corrections of one entry; null for an original."""
    corrected_by: Actor | None
    """Who corrected; null for originals, and where a runner told late what its own call cost."""
    correction_reason: str | None


class UsagePage(msgspec.Struct, frozen=True, kw_only=True):
    """Entries of the ledger, by `seq`."""

    items: tuple[UsageEntryView, ...]
    next: int
    """`after` of the next page."""
    head: int
    """The last `seq` of the organization; there is more while `next` is lower."""
    archived_through: int
    """Entries up to this `seq` may have left for archives, and be missing; behind it none is. 0: none has."""


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


class CorrectEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Say what is right of a call. What is left out or null stays as the ledger has it."""

    reason: Annotated[str, Meta(max_length=1_000, pattern=BLANK)]
    """Why, for whoever audits the ledger."""
    input_tokens: Tokens | None = None
    """Includes cached and cache-write tokens."""
    cached_tokens: Tokens | None = None
    cache_write_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    """Includes reasoning tokens."""
    reasoning_tokens: Tokens | None = None
    cost: Amount | None = None
    """What the call comes to in all; it does not follow from the tokens by itself."""


class NetView(msgspec.Struct, frozen=True, kw_only=True):
    """What a call comes to, its corrections counted in."""

    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost: Money | None
    """Null while no cost is known."""


class UsageEntryChain(msgspec.Struct, frozen=True, kw_only=True):
    """An entry and all its corrections."""

    entry: UsageEntryView
    corrections: tuple[UsageEntryView, ...]
    """By `correction_number`; none of a correction, which is corrected by correcting its original again."""
    net: NetView


class SumsView(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over entries, corrections counted in."""

    call_count: int
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost: Money
    """Of all calls whose cost is known."""
    billable_cost: Money
    """Of those among them that are billable."""
    unknown_count: int
    """Calls whose cost is not known; they add nothing to `cost`."""


class SummaryGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The sums of one group; what is not grouped by is null."""

    day: str | None
    """`2026-11-21`, in the time zone of the summary."""
    model: str | None
    """`provider:model`."""
    agent_id: str | None
    session_id: str | None
    key_id: str | None
    """Also null for turns that no key created."""
    purpose: str | None
    outcome: str | None
    total: SumsView
    active: SumsView
    """Of turns that are on their session's line now."""
    discarded: SumsView
    """Of turns that are in discarded futures now."""
    deleted: SumsView
    """Of sessions that have been deleted."""


class UsageSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A page of sums over the ledger."""

    items: tuple[SummaryGroup, ...]
    next_page_token: str | None
    head: int
    """The sums are over the entries up to this `seq`, on every page."""
    time_zone: str
    """The days are those of this time zone."""


def usage_entry_chain(chain: EntryChain) -> UsageEntryChain:
    """Show an entry with its corrections."""
    net = msgspec.structs.asdict(chain.net)
    return UsageEntryChain(
        entry=usage_entry_view(chain.entry),
        corrections=tuple(usage_entry_view(entry) for entry in chain.corrections),
        net=NetView(**{**net, "cost": money(chain.net.cost)}),
    )


def summary_group(group: Group) -> SummaryGroup:
    """Show the sums of a group."""
    fields = msgspec.structs.asdict(group)
    sums = {name: _sums(value) for name, value in fields.items() if isinstance(value, Sums)}
    return SummaryGroup(**(fields | sums))


def _sums(sums: Sums) -> SumsView:
    fields = msgspec.structs.asdict(sums)
    return SumsView(**{**fields, "cost": money(sums.cost), "billable_cost": money(sums.billable_cost)})


def usage_entry_view(entry: UsageEntry) -> UsageEntryView:
    """Show an entry of the ledger."""
    fields = msgspec.structs.asdict(entry)
    if entry.unit_prices is not None:
        fields["unit_prices"] = _unit_prices(bytes(entry.unit_prices))
    fields["cost"] = money(entry.cost)
    return UsageEntryView(**fields)


@lru_cache(maxsize=256)
def _unit_prices(stored: bytes) -> UnitPrices:
    """Remembered, since a page of the ledger has few different prices."""
    plain = {
        name: money(Decimal(value)) if name.startswith("per_") or name.endswith("_per_million") else value
        for name, value in msgspec.json.decode(stored).items()
    }
    return msgspec.convert(plain, UnitPrices)
