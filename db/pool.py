"""Connections: how the service opens its pool, and the one place that retries a transaction.

Whoever takes a connection waits for one no longer than the pool allows: where all are taken for too long the
work is turned away, instead of waiting in a queue that grows.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import asyncpg
import msgspec

if TYPE_CHECKING:
    from asyncpg.pool import PoolAcquireContext, PoolConnectionProxy

    AcquireContext = PoolAcquireContext[asyncpg.Record]
    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
else:
    # Only the stubs of asyncpg know these classes as generic.
    Connection = asyncpg.Connection
    Pool = asyncpg.Pool

_Result = TypeVar("_Result")

# A server without a host, or with a folder in its place, is reached by a socket of this machine.
_LOCAL_HOSTS = frozenset({"127.0.0.1", "::1", "localhost", None})
_RETRY_WAIT_SECONDS = 0.005
_RETRY_WAIT_SECONDS_MAX = 0.2

_QUERIES_MAX = 50_000
"""Queries after which a connection is replaced by a new one, so that what it has cached does not grow on."""
_IDLE_SECONDS_MAX = 300.0
"""Time after which a connection that nobody uses is closed."""


async def open_pool(
    dsn: str,
    *,
    size_max: int,
    size_min: int = 1,
    application_name: str = "turnledger",
    acquire_timeout_seconds: float = 30,
    connect_timeout_seconds: float = 10,
    statement_timeout_seconds: float = 30,
    lock_timeout_seconds: float = 2,
    idle_in_transaction_timeout_seconds: float = 15,
    role: str | None = None,
    prepares_statements: bool = True,
    connection_class: type[Any] = asyncpg.Connection,
    setup: Callable[[Any], Awaitable[None]] | None = None,
) -> Pool:
    """Open a pool on which `json` columns are bytes in both directions, as they were written.

    Nobody may set session state on its connections (SET without LOCAL, LISTEN, temporary tables, session
    advisory locks): it is not reset when a connection is released, since that costs a round trip each time.
    An open transaction is still rolled back.

    Taking a connection raises `TimeoutError` when none has become free within `acquire_timeout_seconds`. The
    other limits go to the server as start-up parameters. A PgBouncer in between must be told to let them pass
    (`ignore_startup_parameters`).

    `role` is what the connections become, for good; `setup` prepares each one that is taken, and one for
    which it fails is closed. Without `prepares_statements` every statement is sent anew, and both steps of it
    (what it means, then its values) before the server is ready for another: a pooler in transaction mode
    keeps them together.

    Raises:
        OSError, asyncpg.PostgresError: the database cannot be reached, or turns us away.
    """
    limits = {
        "application_name": application_name,
        "statement_timeout": _milliseconds(statement_timeout_seconds),
        "lock_timeout": _milliseconds(lock_timeout_seconds),
        "idle_in_transaction_session_timeout": _milliseconds(idle_in_transaction_timeout_seconds),
        # Our queries are short; compiling one takes longer than running it.
        "jit": "off",
        # A statement that locks rows and skips partitions at run time can bring Postgres 18 down. A table has
        # few partitions, and looking into all of them costs some microseconds (decision 0008).
        "enable_partition_pruning": "off",
        **({} if role is None else {"role": role}),
    }
    pool = _BoundedPool(
        dsn,
        acquire_timeout_seconds=acquire_timeout_seconds,
        min_size=size_min,
        max_size=size_max,
        max_queries=_QUERIES_MAX,
        max_inactive_connection_lifetime=_IDLE_SECONDS_MAX,
        connect=None,
        setup=setup,
        init=_prepare_connection,
        reset=_keep_session,
        loop=None,
        connection_class=connection_class,
        record_class=asyncpg.Record,
        timeout=connect_timeout_seconds,
        # The server's own limit comes first and leaves a usable connection; this one is for a server that is
        # gone.
        command_timeout=statement_timeout_seconds + 5,
        server_settings=limits,
        **({} if prepares_statements else {"statement_cache_size": 0}),
        **connect_options(dsn),
    )
    await pool
    return pool


async def close_pool(pool: Pool, *, seconds_max: float = 5) -> None:
    """Close a pool when its connections are back; after `seconds_max` what still uses them is broken off."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds_max):
            await pool.close()  # breaks them off itself when it is cut short


def connect_options(dsn: str) -> dict[str, Any]:
    """Return what `asyncpg.connect` needs beside the DSN: no TLS on this machine unless the DSN asks for it.

    Without it asyncpg looks for certificates in the home folder, and fails if that cannot be read.
    """
    parts = urlsplit(dsn)
    options = parse_qs(parts.query)
    servers = parts.netloc.rpartition("@")[2] or ",".join(options.get("host", []))
    hosts = {urlsplit(f"//{server}").hostname for server in servers.split(",")}
    is_local = hosts <= _LOCAL_HOSTS
    asks = options.get("sslmode", ["disable"]) != ["disable"]
    return {"ssl": False} if is_local and not asks else {}


# A standby takes no writes, nor does a server that an operator or its host has made read-only.
_IS_WRITABLE = """
SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'
"""


async def is_writable(conn: Connection) -> bool:
    """Whether the server takes writes at all."""
    return bool(await conn.fetchval(_IS_WRITABLE))


async def retry_serialization(
    operation: Callable[[], Awaitable[_Result]], *, attempts_max: int = 5
) -> _Result:
    """Run `operation`, a whole transaction, again when Postgres broke it to keep transactions apart.

    Those are serialization failures (40001) and deadlocks (40P01); the transaction left nothing behind. The
    last attempt's error is raised. Waits a random, growing time in between, so that the same two do not meet
    again.
    """
    for attempt in range(1, attempts_max):
        try:
            return await operation()
        except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError):
            wait_seconds = min(_RETRY_WAIT_SECONDS * 2**attempt, _RETRY_WAIT_SECONDS_MAX)
            await asyncio.sleep(random.uniform(0, wait_seconds))  # noqa: S311  # no secret
    return await operation()


class _BoundedPool(Pool):
    """A pool whose every wait for a connection has a limit."""

    def __init__(self, dsn: str, *, acquire_timeout_seconds: float, **options: Any) -> None:
        super().__init__(dsn, **options)
        self._acquire_timeout_seconds = acquire_timeout_seconds

    def acquire(self, *, timeout: float | None = None) -> "AcquireContext":
        """Take a connection, as a context; the same limit holds for giving it back.

        Raises:
            TimeoutError: none has become free in time.
        """
        return super().acquire(timeout=self._acquire_timeout_seconds if timeout is None else timeout)


async def _prepare_connection(conn: Connection) -> None:
    await conn.set_type_codec(
        "json", schema="pg_catalog", encoder=_encode_json, decoder=bytes, format="binary"
    )


async def _keep_session(conn: Connection) -> None:
    """Reset nothing: see `open_pool`."""


def _encode_json(value: bytes | msgspec.Raw) -> bytes:
    # bytes(5) would be five zero bytes, so the type is checked.
    if not isinstance(value, bytes | bytearray | memoryview | msgspec.Raw):
        raise TypeError(f"a json parameter is bytes or msgspec.Raw, not {type(value).__name__}")
    return bytes(value)


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
