"""A limited key at two real services on one database."""

import asyncio
import time
from pathlib import Path

import asyncpg
import httpx

from api.store.base import KeyLimits
from db.pool import Pool, connect_options
from tests.e2e.services import ServiceProcess, serving
from tests.factories import make_world

LIMIT = 200


async def minute_of(dsn: str) -> int:
    conn = await asyncpg.connect(dsn, **connect_options(dsn))
    try:
        return int(await conn.fetchval("SELECT extract(epoch FROM clock_timestamp())::int8 / 60"))
    finally:
        await conn.close()


async def statuses(service: ServiceProcess, secret: str, count: int) -> list[int]:
    """Ask a service so many times, eight at once."""
    found: list[int] = []
    async with httpx.AsyncClient(
        base_url=service.address, headers={"Authorization": f"Bearer {secret}"}, timeout=30
    ) as client:

        async def ask() -> None:
            found.extend([(await client.get("/v1/usage/heads")).status_code for _ in range(count // 8)])

        await asyncio.gather(*(ask() for _ in range(8)))
    return found


async def test_two_services_let_through_no_more_than_the_limit(
    pool: Pool, database_url: str, tmp_path: Path
) -> None:
    world = await make_world(pool)
    key = await world.store.access.create_key(
        world.organization_id, name="limited", limits=KeyLimits(requests_per_minute_max=LIMIT, streams_max=2)
    )
    session = (await world.session()).session.id
    environ = {"TURNLEDGER_DATABASE_URL": database_url}
    with (
        serving(tmp_path / "one", "--runners", "0", environ=environ) as one,
        serving(tmp_path / "two", "--runners", "0", environ=environ) as two,
    ):
        for service in (one, two):
            service.wait_until_ready()

        first = await minute_of(database_url)
        answers = await asyncio.gather(*(statuses(service, key.secret, LIMIT) for service in (one, two)))
        minutes = await minute_of(database_url) - first + 1

        seen = [status for found in answers for status in found]
        assert set(seen) == {200, 429}
        assert LIMIT <= seen.count(200) <= LIMIT * minutes

        fresh = await world.store.access.create_key(
            world.organization_id, name="streams", limits=KeyLimits(streams_max=2)
        )
        headers = {"Authorization": f"Bearer {fresh.secret}", "Accept": "text/event-stream"}
        path = f"/v1/sessions/{session}/events"
        async with httpx.AsyncClient(headers=headers, timeout=30) as client:
            async with (
                client.stream("GET", one.address + path) as held,
                client.stream("GET", two.address + path) as other,
            ):
                refused = [(await client.get(service.address + path)).status_code for service in (one, two)]
                assert [held.status_code, other.status_code, *refused] == [200, 200, 429, 429]
            deadline = time.monotonic() + 20
            status = 429
            while status == 429:
                assert time.monotonic() < deadline
                async with client.stream("GET", one.address + path) as again:
                    status = again.status_code
            assert status == 200
