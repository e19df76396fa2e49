"""What is old is forgotten, what is not stays."""

from datetime import UTC, datetime, timedelta

import asyncpg

from api.app.sweeps import sweep
from api.events import Hub
from api.session import ids
from api.store import Store
from db import keys

NOW = datetime(2026, 1, 10, tzinfo=UTC)


async def test_idempotency_keys_beyond_their_time_are_forgotten(pool: asyncpg.Pool) -> None:
    organization = await Store(pool, Hub()).access.create_organization("One")
    row = ids.from_wire(ids.Kind.ORGANIZATION, organization.id)
    assert row is not None
    async with pool.acquire() as conn:
        for name, age_hours in (("old", 73), ("young", 71)):
            await keys.insert(
                conn,
                row,
                key=name,
                fingerprint=b"\0" * 32,
                at=NOW - timedelta(hours=age_hours),
                status=200,
                headers=b"{}",
                answer=b"{}",
            )

    await sweep(pool, now=NOW, idempotency_hours=72)

    async with pool.acquire() as conn:
        left = await conn.fetch("SELECT key FROM idempotency_keys")
    assert [row["key"] for row in left] == ["young"]
