"""Text of several runs is stored by one statement, whatever happens to their leases at that moment."""

import asyncio

import pytest
from uuid_utils.compat import uuid7

from api.app.partitions import plans, tend
from api.settings import Settings
from api.store.base import utc_now
from db import deltas
from db.pool import Connection, Pool
from tests.factories import make_world
from tests.ledger import claimed

_SECONDS_MAX = 20


# With the setting of the product, and with that which such a statement alone could bring the server down.
@pytest.mark.parametrize("pruning", ["off", "on"])
async def test_text_of_runs_whose_leases_are_just_renewed_is_stored(pool: Pool, pruning: str) -> None:
    await tend(pool, plans(Settings()), now=utc_now())
    world = await make_world(pool)
    claims = []
    for _ in range(3):
        await world.append((await world.session()).session.id, None)
        claims.append(await claimed(world))

    async def shown(conn: Connection, offset: int) -> int:
        pieces = [
            deltas.DeltaRow(claim.organization_id, claim.run_id, uuid7(), offset, "word ") for claim in claims
        ]
        return len(await deltas.flush(conn, pieces, at=utc_now()))

    async with pool.acquire() as writer, pool.acquire() as renewer:
        await writer.execute(f"SET enable_partition_pruning = {pruning}")
        # Often enough that the plan is the one that is kept.
        stored = [await shown(writer, number) for number in range(10)]
        for number in range(10, 15):
            async with renewer.transaction():
                await renewer.execute("UPDATE runs SET lease_expires_at = now() + interval '1 hour'")
                storing = asyncio.create_task(shown(writer, number))
                await until_somebody_waits(renewer)
            stored.append(await storing)
        await writer.execute("RESET enable_partition_pruning")

    assert stored == [3] * 15
    assert await pool.fetchval("SELECT count(*) FROM deltas") == 45


async def until_somebody_waits(conn: Connection) -> None:
    """Wait until a connection waits for a lock of this database."""
    async with asyncio.timeout(_SECONDS_MAX):
        while not await conn.fetchval(
            """SELECT EXISTS (SELECT FROM pg_stat_activity
                               WHERE wait_event_type = 'Lock' AND datname = current_database())"""
        ):
            await asyncio.sleep(0.01)
