"""A thousand readers of event streams at one process: what each costs, and how late it hears.

    python -m bench.readers

1,000 readers follow 250 sessions of one `turnledger serve`. First nothing happens; then sessions are renamed
at a steady rate, each of which four readers hear, while eight turns speak. Delivery is the time from the
instant in the event, taken before its commit, to its arrival at the reader.
"""

import asyncio
import re
import resource
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime

import msgspec

from api.events import Hub
from api.store import Store
from bench.database import bench_database
from bench.event_reader import Connection
from bench.report import run, show
from bench.service import Service, running
from bench.tenants import Opened, Tenant, make_tenants, open_sessions, settle_down
from db.pool import open_pool

READERS = 1_000
_SESSIONS = 250
_IDLE_SECONDS = 10
_BUSY_SECONDS = 20
_RENAMES_PER_SECOND = 50
_SPEAKING = 8
_AT = re.compile(rb'"type":"session.updated","at":"([^"]+)"')
_FILES = 4 * READERS


async def main() -> bool:
    """Measure and print; there is no bar."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_FILES, hard), hard))
    async with bench_database() as database:
        async with await open_pool(database.dsn, size_max=2) as pool:
            tenants = await make_tenants(Store(pool, Hub()), 1)
            sessions = await open_sessions(pool, tenants, count=_SESSIONS, turn_count=0)
            await settle_down(pool)
        async with running(database.dsn) as service, AsyncExitStack() as stack:
            await _measure(service, tenants[0], sessions, stack)
    return True


async def _measure(
    service: Service, tenant: Tenant, sessions: Sequence[Opened], stack: AsyncExitStack
) -> None:
    before_bytes = service.memory_bytes
    delays: list[float] = []
    reading = []
    for number in range(READERS):
        connection = await stack.enter_async_context(Connection(service.host, service.port, tenant.secret))
        session = sessions[number % len(sessions)]
        reading.append(asyncio.create_task(_read(connection, session, delays)))
    await asyncio.sleep(2)
    each_bytes = (service.memory_bytes - before_bytes) / READERS

    idle_share = await _cpu_share(service, _IDLE_SECONDS)
    commanding = await stack.enter_async_context(Connection(service.host, service.port, tenant.secret))
    speaking = [asyncio.create_task(_speak(service, tenant, session)) for session in sessions[-_SPEAKING:]]
    renaming = asyncio.create_task(_rename(commanding, sessions[:-_SPEAKING]))
    busy_share = await _cpu_share(service, _BUSY_SECONDS)
    rename_count = await renaming
    await asyncio.gather(*speaking)
    await asyncio.sleep(1)
    told = rename_count * READERS // len(sessions)
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)
    if len(delays) != told:
        raise RuntimeError(f"{told} deliveries were due, {len(delays)} came")

    delays.sort()
    show(
        f"{READERS:,} readers of {len(sessions)} sessions at one process",
        ["", ""],
        [
            ("memory per reader, KiB", each_bytes / 1024),
            ("processor share while nothing happens", idle_share),
            (
                f"processor share at {_RENAMES_PER_SECOND} commits/s and {_SPEAKING} speaking turns",
                busy_share,
            ),
            ("deliveries", len(delays)),
            ("delivery, median, ms", delays[len(delays) // 2] * 1000),
            ("delivery, 99 of 100, ms", delays[len(delays) * 99 // 100] * 1000),
            ("delivery, slowest, ms", delays[-1] * 1000),
        ],
    )


async def _read(connection: Connection, session: Opened, delays: list[float]) -> None:
    connection.send("GET", f"/v1/sessions/{session.wire_id}/events", Accept="text/event-stream")
    if await connection.status() != 200:
        raise RuntimeError("a reader was turned away")
    async for chunk in connection.chunks():
        now = time.time()
        delays += (now - datetime.fromisoformat(at.decode()).timestamp() for at in _AT.findall(chunk))


async def _rename(connection: Connection, sessions: Sequence[Opened]) -> int:
    loop = asyncio.get_running_loop()
    began = loop.time()
    count = 0
    while loop.time() - began < _BUSY_SECONDS:
        session = sessions[count % len(sessions)]
        body = msgspec.json.encode({"name": f"Name {count}"})
        connection.send("PATCH", f"/v1/sessions/{session.wire_id}", body, If_Match="*")
        await connection.body()
        count += 1
        await asyncio.sleep(max(0.0, began + count / _RENAMES_PER_SECOND - loop.time()))
    return count


async def _speak(service: Service, tenant: Tenant, session: Opened) -> None:
    """Have the session's turns say something all the while."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _BUSY_SECONDS
    async with Connection(service.host, service.port, tenant.secret) as connection:
        while loop.time() < until:
            body = msgspec.json.encode({"text": "word " * 40})
            path = f"/v1/sessions/{session.wire_id}/messages"
            connection.send("POST", path, body, If_Match="*")
            await connection.body()


async def _cpu_share(service: Service, seconds: float) -> float:
    began, cpu_began = time.perf_counter(), service.cpu_seconds
    await asyncio.sleep(seconds)
    return (service.cpu_seconds - cpu_began) / (time.perf_counter() - began)


if __name__ == "__main__":
    run(main)
