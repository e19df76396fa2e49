"""Old stretches of the ledger are written out whole, and then leave the database."""

from collections.abc import AsyncIterator
from datetime import datetime

from api.session import ids
from api.store.base import Base
from api.store.ledger import UsageEntry, usage_entry
from db import archives, partitions
from db.partitions import PartitionRow

_PAGE = 1_000


class Archiving(Base):
    """The part of the store that lets old entries of the ledger go."""

    async def partitions(self) -> list[PartitionRow]:
        """All partitions of all tables, by table, oldest first."""
        async with self._pool.acquire() as conn:
            return await partitions.present(conn)

    async def due(self, *, before: datetime) -> list[PartitionRow]:
        """The stretches of the ledger that end at or before an instant, oldest first."""
        return [
            row for row in await self.partitions() if row.parent == "usage_entries" and row.ends_at <= before
        ]

    async def entries(self, part: PartitionRow) -> AsyncIterator[tuple[str, UsageEntry]]:
        """Read every entry of a stretch with its organization's id, by organization and number."""
        organization_id, seq = archives.LOWEST, 0
        while True:
            async with self._pool.acquire() as conn:
                page = await archives.page(
                    conn,
                    begins_at=part.begins_at,
                    ends_at=part.ends_at,
                    organization_id=organization_id,
                    seq=seq,
                    limit=_PAGE,
                )
            for organization_id, row in page:
                seq = row.seq
                yield ids.to_wire(ids.Kind.ORGANIZATION, organization_id), usage_entry(row)
            if len(page) < _PAGE:
                return

    async def leave(self, part: PartitionRow, *, entry_count: int) -> None:
        """Drop a stretch whose entries, so many, are kept elsewhere now. Totals stay what they were.

        Raises:
            PartitionChanged: it has another number of entries, some of late, or has left already; nothing was
                changed.
            asyncpg.LockNotAvailableError: the ledger was too busy to be held; nothing was changed.
        """
        async with self._pool.acquire() as conn:
            await archives.leave(conn, part.name, entry_count=entry_count)
