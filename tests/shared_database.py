"""A database that all workers of a run use: the first that asks makes it, the last that leaves drops it."""

import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg

_MAKING_SECONDS_MAX = 900


@contextlib.asynccontextmanager
async def shared_database(
    admin: asyncpg.Connection, name: str, *, template: str = "template1", fill: Callable[[], Awaitable[None]]
) -> AsyncIterator[None]:
    """Hold the database `name` for the length of the block; `fill` is called where it is made.

    Whoever comes while it is made waits for it.

    Raises:
        TimeoutError: it was not made in a quarter of an hour.
    """
    digest = hashlib.sha256(name.encode()).digest()
    making, using = int.from_bytes(digest[:7]), int.from_bytes(digest[7:14])
    await admin.execute("SELECT pg_advisory_lock($1)", making, timeout=_MAKING_SECONDS_MAX)
    try:
        if not await admin.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name):
            await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
            try:
                await fill()
            except BaseException:
                await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
                raise
        # Held shared by everybody: the last can tell that it is the last.
        await admin.execute("SELECT pg_advisory_lock_shared($1)", using)
    finally:
        await admin.execute("SELECT pg_advisory_unlock($1)", making)
    yield
    await admin.execute("SELECT pg_advisory_unlock_shared($1)", using)
    if await admin.fetchval("SELECT pg_try_advisory_lock($1)", using):
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
