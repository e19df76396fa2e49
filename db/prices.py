"""Our own prices, which come before any public price list."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from db.pool import Connection


class PriceRow(NamedTuple):
    """Amounts per million tokens of the models whose names match a pattern, from an instant on."""

    provider: str
    model_pattern: str
    valid_from: datetime
    input_per_million: Decimal
    cached_per_million: Decimal | None
    cache_write_per_million: Decimal | None
    output_per_million: Decimal
    reasoning_per_million: Decimal | None
    per_call: Decimal
    tiers: bytes | None = None


_OF_PROVIDER = """
SELECT provider, model_pattern, valid_from, input_per_million, cached_per_million, cache_write_per_million,
       output_per_million, reasoning_per_million, per_call, tiers
  FROM prices WHERE organization_id = $1 AND provider = $2
"""


async def of_provider(conn: Connection, organization_id: UUID, provider: str) -> list[PriceRow]:
    """Read every price of a provider's models."""
    rows = await conn.fetch(_OF_PROVIDER, organization_id, provider)
    return [PriceRow(*row.values()) for row in rows]


class ListedRow(NamedTuple):
    """A price with its history."""

    price: PriceRow
    valid_until: datetime | None
    """When it is followed; None for the newest of its pattern."""
    added_at: datetime | None
    """None for prices of releases that did not record it."""
    added_by: bytes | None


_LIST = """
SELECT provider, model_pattern, valid_from, input_per_million, cached_per_million, cache_write_per_million,
       output_per_million, reasoning_per_million, per_call, tiers,
       lead(valid_from) OVER (PARTITION BY provider, model_pattern ORDER BY valid_from) AS valid_until,
       added_at, added_by
  FROM prices
 WHERE organization_id = $1 AND ($2::text IS NULL OR provider = $2)
 ORDER BY provider COLLATE "C", model_pattern COLLATE "C", valid_from DESC
OFFSET $3 LIMIT $4
"""


async def listed(
    conn: Connection, organization_id: UUID, *, provider: str | None, offset: int, limit: int
) -> list[ListedRow]:
    """Read prices by provider and pattern, the newest of each first."""
    rows = await conn.fetch(_LIST, organization_id, provider, offset, limit)
    return [ListedRow(PriceRow(*list(row.values())[:-3]), *list(row.values())[-3:]) for row in rows]


_NEWEST = """
SELECT provider, model_pattern, valid_from, input_per_million, cached_per_million, cache_write_per_million,
       output_per_million, reasoning_per_million, per_call, tiers, NULL::timestamptz AS valid_until, added_at,
       added_by
  FROM prices
 WHERE organization_id = $1 AND provider = $2 AND model_pattern = $3
 ORDER BY valid_from DESC
 LIMIT 1
"""


async def newest(
    conn: Connection, organization_id: UUID, *, provider: str, model_pattern: str
) -> ListedRow | None:
    """Read the last price of a pattern, in force or still to come; None when there is none."""
    row = await conn.fetchrow(_NEWEST, organization_id, provider, model_pattern)
    return None if row is None else ListedRow(PriceRow(*list(row.values())[:-3]), *list(row.values())[-3:])


_LOCK_LIST = """
SELECT id FROM organizations WHERE id = $1 FOR NO KEY UPDATE
"""


async def lock_list(conn: Connection, organization_id: UUID) -> None:
    """Hold an organization's price list until the transaction ends, so that nobody else adds to it."""
    await conn.execute(_LOCK_LIST, organization_id)


_INSERT = """
INSERT INTO prices (organization_id, provider, model_pattern, valid_from, input_per_million,
                    cached_per_million, cache_write_per_million, output_per_million,
                    reasoning_per_million, per_call, tiers, added_at, added_by)
SELECT $1, p.*, $12, $13
  FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::numeric[], $6::numeric[], $7::numeric[],
              $8::numeric[], $9::numeric[], $10::numeric[], $11::json[]) AS p
"""


async def insert(
    conn: Connection, organization_id: UUID, prices: Sequence[PriceRow], *, at: datetime, by: bytes
) -> None:
    """Add prices. One that has the provider, pattern and instant of another raises UniqueViolationError."""
    columns = list(zip(*prices, strict=True))
    await conn.execute(_INSERT, organization_id, *(list(column) for column in columns), at, by)
