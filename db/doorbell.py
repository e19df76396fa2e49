"""The doorbell: NOTIFY and LISTEN on a connection of its own, outside of every commit.

Inside a commit a NOTIFY would have all commits wait for one another.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg

from db.pool import Connection, connect_options

CHANNEL = "turnledger"

PAYLOAD_BYTES_MAX = 7_900
"""Postgres takes less than 8,000."""

_CONNECT_SECONDS_MAX = 10
_COMMAND_SECONDS_MAX = 5

_RING = """
SELECT pg_notify('turnledger', payload) FROM unnest($1::text[]) AS payload
"""


class Line:
    """An open connection on which we hear others ring, and ring."""

    def __init__(self, conn: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._conn = conn

    async def ring(self, payloads: Sequence[str]) -> None:
        """Send these to everyone who listens; none at all shows whether the line is alive.

        Raises:
            OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError: the line is dead.
        """
        await self._conn.execute(_RING, list(payloads))


@asynccontextmanager
async def opened(dsn: str, *, hear: Callable[[str], None], cut: Callable[[], None]) -> AsyncIterator[Line]:
    """Connect and listen; what others ring is handed to `hear`, `cut` is called when the line breaks.

    Raises:
        OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError: there is no line to be had.
    """
    conn = await asyncpg.connect(
        dsn,
        timeout=_CONNECT_SECONDS_MAX,
        command_timeout=_COMMAND_SECONDS_MAX,
        # A NOTIFY is a commit of its own; nothing is lost that the clock does not make up for.
        server_settings={"application_name": "turnledger doorbell", "synchronous_commit": "off"},
        **connect_options(dsn),
    )
    own_pid = conn.get_server_pid()

    def heard(_: Connection, pid: int, __: str, payload: Any) -> None:
        if pid != own_pid:
            hear(str(payload))

    try:
        conn.add_termination_listener(lambda _: cut())
        await conn.add_listener(CHANNEL, heard)
        yield Line(conn)
    finally:
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            async with asyncio.timeout(_COMMAND_SECONDS_MAX):
                await conn.close()
