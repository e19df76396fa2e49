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


_OF_PROVIDER = """
SELECT provider, model_pattern, valid_from, input_per_million, cached_per_million, cache_write_per_million,
       output_per_million, reasoning_per_million, per_call
  FROM prices WHERE organization_id = $1 AND provider = $2
"""


async def of_provider(conn: Connection, organization_id: UUID, provider: str) -> list[PriceRow]:
    """Read every price of a provider's models."""
    rows = await conn.fetch(_OF_PROVIDER, organization_id, provider)
    return [PriceRow(*row.values()) for row in rows]


_INSERT = """
INSERT INTO prices (organization_id, provider, model_pattern, valid_from, input_per_million,
                    cached_per_million, cache_write_per_million, output_per_million,
                    reasoning_per_million, per_call)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::numeric[], $6::numeric[],
                         $7::numeric[], $8::numeric[], $9::numeric[], $10::numeric[])
"""


async def insert(conn: Connection, organization_id: UUID, prices: Sequence[PriceRow]) -> None:
    """Add prices. One that has the provider, pattern and instant of another raises UniqueViolationError."""
    columns = list(zip(*prices, strict=True))
    await conn.execute(_INSERT, organization_id, *(list(column) for column in columns))
