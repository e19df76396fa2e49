"""The organization's own price list: read, and followed; a price is never edited."""

from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

from api.session.document import Actor
from api.store import rows
from api.store.base import Base, Caller
from api.store.errors import PriceInThePast, PriceSuperseded
from db import prices

PAST_SECONDS_MAX = 300
"""How far in the past a price may begin: as far as clocks differ."""


class PriceTier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Amounts that apply to every token of a call with more input tokens than this."""

    above_input_tokens: int
    input_per_million: Decimal
    cached_per_million: Decimal | None = None
    cache_write_per_million: Decimal | None = None
    output_per_million: Decimal
    reasoning_per_million: Decimal | None = None


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the organization's own price list, in amounts per million tokens."""

    provider: str
    model_pattern: str
    """The provider's name of the model; `*` stands for any characters."""
    valid_from: datetime
    input_per_million: Decimal
    cached_per_million: Decimal | None = None
    """None: cached tokens cost what other input costs."""
    cache_write_per_million: Decimal | None = None
    """None: written tokens cost what other input costs."""
    output_per_million: Decimal
    reasoning_per_million: Decimal | None = None
    """None: reasoning costs what other output costs."""
    per_call: Decimal = Decimal(0)
    tiers: tuple[PriceTier, ...] = ()
    """By rising `above_input_tokens`; the last one that a call reaches replaces the amounts above."""


class ListedPrice(msgspec.Struct, frozen=True, kw_only=True):
    """A price with its history."""

    price: Price
    valid_until: datetime | None
    """When it is followed; None for the newest of its pattern."""
    added_at: datetime | None
    """None for prices of releases that did not record it."""
    added_by: Actor | None


class Prices(Base):
    """The part of the store that keeps prices."""

    async def prices(
        self, caller: Caller, *, provider: str | None, offset: int, limit: int
    ) -> list[ListedPrice]:
        """List prices by provider and pattern, the newest of each first."""
        async with self._pool.acquire() as conn:
            found = await prices.listed(
                conn, caller.organization_id, provider=provider, offset=offset, limit=limit
            )
        return [_listed(row) for row in found]

    async def put(self, caller: Caller, price: Price, *, begins_now: bool) -> ListedPrice:
        """Let a price follow the newest of its pattern; the same price again changes nothing.

        With `begins_now` it is in force from now on, whatever its `valid_from` says, and is the same if the
        newest is in force with the same amounts.

        Raises:
            PriceInThePast: it would begin before now, where rows of the ledger say otherwise already.
            PriceSuperseded: the newest of its pattern begins no earlier.
        """
        async with self._pool.acquire() as conn, conn.transaction():
            await prices.lock_list(conn, caller.organization_id)
            now = self._clock()
            if begins_now:
                price = msgspec.structs.replace(price, valid_from=now)
            newest = await prices.newest(
                conn, caller.organization_id, provider=price.provider, model_pattern=price.model_pattern
            )
            if newest is not None:
                last = price_of(newest.price)
                same = price
                if begins_now and last.valid_from <= now:
                    same = msgspec.structs.replace(price, valid_from=last.valid_from)
                if same == last:
                    return _listed(newest)
                if price.valid_from <= last.valid_from:
                    raise PriceSuperseded(valid_from=last.valid_from)
            if price.valid_from < now - timedelta(seconds=PAST_SECONDS_MAX):
                raise PriceInThePast(seconds_max=PAST_SECONDS_MAX)
            await prices.insert(
                conn,
                caller.organization_id,
                [row_of(price)],
                at=now,
                by=msgspec.json.encode(caller.actor),
            )
        return ListedPrice(price=price, valid_until=None, added_at=now, added_by=caller.actor)


def price_of(row: prices.PriceRow) -> Price:
    """A price as it was stored."""
    tiers = () if row.tiers is None else msgspec.json.decode(row.tiers, type=tuple[PriceTier, ...])
    return Price(**{**row._asdict(), "tiers": tiers})


def row_of(price: Price) -> prices.PriceRow:
    """A price as it is stored."""
    fields = msgspec.structs.asdict(price)
    return prices.PriceRow(**{**fields, "tiers": msgspec.json.encode(price.tiers) if price.tiers else None})


def _listed(row: prices.ListedRow) -> ListedPrice:
    return ListedPrice(
        price=price_of(row.price),
        valid_until=row.valid_until,
        added_at=row.added_at,
        added_by=None if row.added_by is None else rows.actor(row.added_by),
    )
