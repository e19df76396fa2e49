"""The pool passes JSON through untouched, and one helper retries what Postgres broke."""

import asyncio

import asyncpg
import msgspec
import pytest

from db.pool import close_pool, connect_options, open_pool, retry_serialization

# Key order, spacing, a repeated key and an escape: all that jsonb would lose.
WRITTEN = b'{"b": 1,  "a": [1.50, "\\u00e4"], "b": 2}'


async def test_json_comes_back_as_it_was_written(pool: asyncpg.Pool) -> None:
    assert await pool.fetchval("SELECT $1::json", WRITTEN) == WRITTEN
    assert await pool.fetchval("SELECT $1::json", msgspec.Raw(WRITTEN)) == WRITTEN


async def test_json_arrays_carry_bytes_and_null(pool: asyncpg.Pool) -> None:
    documents = [WRITTEN, None, msgspec.Raw(b"3")]

    assert await pool.fetchval("SELECT $1::json[]", documents) == [WRITTEN, None, b"3"]
    rows = await pool.fetch("SELECT * FROM unnest($1::json[]) AS document", documents)
    assert [row["document"] for row in rows] == [WRITTEN, None, b"3"]


async def test_json_in_a_statement_run_many_times_is_bytes(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("CREATE TABLE documents (document json) ")
        await conn.executemany("INSERT INTO documents VALUES ($1)", [(WRITTEN,), (b"[]",)])

        rows = await conn.fetch("SELECT document FROM documents")

    assert [row["document"] for row in rows] == [WRITTEN, b"[]"]


@pytest.mark.parametrize("value", ["{}", 5, {}])
async def test_json_parameters_of_other_types_are_refused(pool: asyncpg.Pool, value: object) -> None:
    with pytest.raises(asyncpg.DataError, match="a json parameter is bytes"):
        await pool.fetchval("SELECT $1::json", value)


async def test_connections_carry_their_limits(database_url: str) -> None:
    async with await open_pool(
        database_url, size_max=1, statement_timeout_seconds=0.2, application_name="limits"
    ) as pool:
        told = await pool.fetchrow(
            """
            SELECT current_setting('application_name') AS name,
                   current_setting('lock_timeout') AS lock_timeout,
                   current_setting('jit') AS jit,
                   current_setting('idle_in_transaction_session_timeout') AS idle_timeout
            """
        )
        with pytest.raises(asyncpg.QueryCanceledError):
            await pool.execute("SELECT pg_sleep(20)")

    assert dict(told) == {"name": "limits", "lock_timeout": "2s", "jit": "off", "idle_timeout": "15s"}


async def test_a_transaction_left_open_is_rolled_back_on_release(database_url: str) -> None:
    async with await open_pool(database_url, size_max=1) as pool:
        async with pool.acquire() as conn:
            await conn.transaction().start()
            await conn.execute("CREATE TABLE left_open (id integer)")

        assert await pool.fetchval("SELECT to_regclass('left_open')") is None


async def test_releasing_a_connection_sends_nothing(database_url: str) -> None:
    async with await open_pool(database_url, size_max=1) as pool:
        async with pool.acquire() as conn:
            await conn.execute("SET application_name = 'kept'")

        assert await pool.fetchval("SHOW application_name") == "kept"


@pytest.mark.parametrize("error", [asyncpg.SerializationError, asyncpg.DeadlockDetectedError])
async def test_a_broken_transaction_is_run_again(error: type[asyncpg.PostgresError]) -> None:
    outcomes: list[Exception | None] = [error("once"), error("twice"), None]

    async def operation() -> str:
        outcome = outcomes.pop(0)
        if outcome:
            raise outcome
        return "done"

    assert await retry_serialization(operation, attempts_max=3) == "done"
    assert outcomes == []


async def test_the_last_attempt_tells_its_error() -> None:
    attempts = 0

    async def operation() -> None:
        nonlocal attempts
        attempts += 1
        raise asyncpg.SerializationError(f"attempt {attempts}")

    with pytest.raises(asyncpg.SerializationError, match="attempt 3"):
        await retry_serialization(operation, attempts_max=3)


async def test_other_errors_are_not_retried() -> None:
    attempts = 0

    async def operation() -> None:
        nonlocal attempts
        attempts += 1
        raise asyncpg.UniqueViolationError("taken")

    with pytest.raises(asyncpg.UniqueViolationError):
        await retry_serialization(operation, attempts_max=3)

    assert attempts == 1


async def test_who_waits_for_a_connection_is_turned_away_in_time(database_url: str) -> None:
    async with await open_pool(database_url, size_max=1, acquire_timeout_seconds=0.1) as pool:
        async with pool.acquire():
            with pytest.raises(TimeoutError):
                await pool.fetchval("SELECT 1")
            with pytest.raises(TimeoutError):
                await pool.acquire()

        assert await pool.fetchval("SELECT 1") == 1, "the connection came back"


async def test_a_connection_that_becomes_free_in_time_is_taken(database_url: str) -> None:
    async with await open_pool(database_url, size_max=1, acquire_timeout_seconds=30) as pool:
        async with pool.acquire():
            waiting = [asyncio.create_task(pool.fetchval("SELECT 1")) for _ in range(3)]
            waiting[0].cancel()

        assert await asyncio.gather(*waiting[1:]) == [1, 1]


async def test_a_pool_is_closed_in_time_whatever_its_connections_do(database_url: str) -> None:
    pool = await open_pool(database_url, size_max=1)
    busy = asyncio.create_task(pool.execute("SELECT pg_sleep(20)"))
    async with asyncio.timeout(10):
        async with await open_pool(database_url, size_max=1) as other:
            while not await other.fetchval(_SLEEPING):
                await asyncio.sleep(0.01)

        await close_pool(pool, seconds_max=0.1)

        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await busy


_SLEEPING = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%')"


@pytest.mark.parametrize(
    ("dsn", "is_without_tls"),
    [
        ("postgresql://ann:key@127.0.0.1:5432/app", True),
        ("postgresql://ann@[::1]:5432,localhost/app", True),
        ("postgresql:///app", True),
        ("postgresql:///app?host=/var/run/postgresql", True),
        ("postgresql://localhost/app?sslmode=require", False),
        ("postgresql://db.example/app", False),
        ("postgresql://localhost:5432,db.example:5432/app", False),
        ("postgresql:///app?host=db.example", False),
    ],
)
def test_only_connections_that_stay_on_this_machine_go_without_tls(dsn: str, is_without_tls: bool) -> None:
    assert connect_options(dsn) == ({"ssl": False} if is_without_tls else {})
