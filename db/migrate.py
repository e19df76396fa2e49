"""Migrations: plain SQL files `NNNN_verb_object.sql`, applied forward, in order, once.

Every file runs in one transaction together with the row that records it, so it is applied wholly or not at
all. An advisory lock, held until that transaction ends, lets one process apply a file at a time; the others
wait and then find it applied. Nothing is kept in the session, so a pooler may stand in between.
"""

import asyncio
import contextlib
import hashlib
import re
import time
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path

import asyncpg
import msgspec

from db.pool import Connection, connect_options

_FILE_NAME = re.compile(r"(?P<number>\d{4})_(?P<name>[a-z0-9]+(?:_[a-z0-9]+)+)\.sql")
# Any constant that no other user of the database takes: the bytes of "turnledg".
_LOCK_KEY = 0x7475726E6C656467
_LOCK_SECONDS_MAX = 300
_LOCK_POLL_SECONDS = 0.05
_CONNECT_SECONDS_MAX = 30


class MigrationError(Exception):
    """The database cannot be brought to the schema of this code; the message says why."""


class MigrationsUnreadable(MigrationError):
    """The files of the folder are not an unbroken series 0001, 0002, ..."""

    def __init__(self, *, folder: Path, fault: str) -> None:
        self.folder = folder
        self.fault = fault
        super().__init__(f"The migrations in {folder} cannot be used: {fault}.")


class MigrationEdited(MigrationError):
    """A file was changed after it had been applied."""

    def __init__(self, *, file: str) -> None:
        self.file = file
        super().__init__(
            f"Migration {file} was applied to this database with other content. Restore the file as it was, "
            "and put the change into a new one."
        )


class MigrationGap(MigrationError):
    """The database has applied later files and lacks an earlier one."""

    def __init__(self, *, number: int) -> None:
        self.number = number
        super().__init__(f"This database has later migrations than {number:04}, but not that one.")


class MigrationFailed(MigrationError):
    """A file's SQL failed; nothing of that file is in the database, the files before it are."""

    def __init__(self, *, file: str, reason: str) -> None:
        self.file = file
        self.reason = reason
        super().__init__(f"Migration {file} failed: {reason}")


class MigrationsBusy(MigrationError):
    """Another process has been migrating this database for too long."""

    def __init__(self) -> None:
        super().__init__(f"Another process has been migrating this database for {_LOCK_SECONDS_MAX} seconds.")


class Migration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file."""

    number: int
    name: str
    sql: str
    sha256: str
    """Of the content with line ends as LF, which is what a checkout may change."""

    @property
    def file(self) -> str:
        """The name of the file."""
        return f"{self.number:04}_{self.name}.sql"


class Applied(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of `schema_migrations`."""

    number: int
    name: str
    sha256: str
    applied_at: datetime


class Status(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a database stands to a folder of migrations."""

    applied: tuple[Applied, ...]
    pending: tuple[Migration, ...]
    newer: tuple[Applied, ...]
    """Applied by a newer release: allowed, since a running release must work on the next schema."""


def migrations_folder() -> Path:
    """Return the folder of this code's migrations: packaged with it in a wheel, at the top of a checkout."""
    package = Path(__file__).resolve().parent
    packaged = package / "_migrations"
    return packaged if packaged.is_dir() else package.parent / "migrations"


def read_migrations(folder: Path) -> tuple[Migration, ...]:
    """Read the files of `folder`, in order.

    Raises:
        MigrationsUnreadable: a misnamed file, a gap, a number that occurs twice, or no file at all.
    """
    migrations: list[Migration] = []
    for file in sorted(folder.glob("*.sql")):
        named = _FILE_NAME.fullmatch(file.name)
        if not named:
            raise MigrationsUnreadable(folder=folder, fault=f"{file.name} is not named NNNN_verb_object.sql")
        content = file.read_bytes().replace(b"\r\n", b"\n")
        migrations.append(
            Migration(
                number=int(named["number"]),
                name=named["name"],
                sql=content.decode(),
                sha256=hashlib.sha256(content).hexdigest(),
            )
        )
    if not migrations:
        raise MigrationsUnreadable(folder=folder, fault="there are none")
    for expected, migration in enumerate(migrations, start=1):
        if migration.number < expected:
            raise MigrationsUnreadable(folder=folder, fault=f"number {migration.number:04} occurs twice")
        if migration.number > expected:
            raise MigrationsUnreadable(folder=folder, fault=f"number {expected:04} is missing")
    return tuple(migrations)


async def migrate(database: Connection | str, folder: Path) -> list[Applied]:
    """Apply what is pending, and return it. Any number of processes may do this at once.

    `database` is a connection outside a transaction, or a DSN. Processes that do this at the same moment may
    share the files among them; each returns what it has applied itself.

    Raises:
        MigrationError: one of its classes. Files before the one that failed stay applied.
    """
    migrations = read_migrations(folder)
    applied = []
    async with _connection(database) as conn:
        while (one := await _apply_next(conn, migrations)) is not None:
            applied.append(one)
    return applied


async def status(database: Connection | str, folder: Path) -> Status:
    """Compare the database with the folder; change nothing.

    Raises:
        MigrationError: they contradict each other.
    """
    migrations = read_migrations(folder)
    async with _connection(database) as conn, conn.transaction():
        exists = await conn.fetchval(_TABLE_EXISTS)
        return _compare(migrations, await _read_applied(conn) if exists else ())


async def pending(database: Connection | str, folder: Path) -> tuple[Migration, ...]:
    """Return the migrations that the database lacks; change nothing."""
    return (await status(database, folder)).pending


_CREATE_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number     integer     PRIMARY KEY CHECK (number > 0),
    name       text        NOT NULL,
    sha256     text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""

_TABLE_EXISTS = """
SELECT to_regclass('schema_migrations') IS NOT NULL
"""

_READ_APPLIED = """
SELECT number, name, sha256, applied_at
  FROM schema_migrations
 ORDER BY number
"""

_RECORD = """
INSERT INTO schema_migrations (number, name, sha256)
VALUES ($1, $2, $3)
RETURNING number, name, sha256, applied_at
"""

# A migration may take its time; it may not stand in the queue for a table for long, since everybody else
# stands behind it there.
_SET_LIMITS = """
SET LOCAL statement_timeout = 0;
SET LOCAL idle_in_transaction_session_timeout = 0;
SET LOCAL lock_timeout = '10s';
"""

_TRY_LOCK = """
SELECT pg_try_advisory_xact_lock($1)
"""


async def _read_applied(conn: Connection) -> tuple[Applied, ...]:
    return tuple(Applied(**row) for row in await conn.fetch(_READ_APPLIED))


def _compare(migrations: Sequence[Migration], applied: Sequence[Applied]) -> Status:
    for expected, row in enumerate(applied, start=1):
        if row.number != expected:
            raise MigrationGap(number=expected)
    for migration, row in zip(migrations, applied, strict=False):
        if migration.sha256 != row.sha256:
            raise MigrationEdited(file=migration.file)
    return Status(
        applied=tuple(applied[: len(migrations)]),
        pending=tuple(migrations[len(applied) :]),
        newer=tuple(applied[len(migrations) :]),
    )


async def _apply_next(conn: Connection, migrations: Sequence[Migration]) -> Applied | None:
    """Apply the first file that is pending; None when none is."""
    # Asked for again and again, not waited for: the connection may have a short lock_timeout.
    deadline = time.monotonic() + _LOCK_SECONDS_MAX
    while True:
        with contextlib.suppress(_LockTaken):
            return await _apply_first(conn, migrations)
        if time.monotonic() > deadline:
            raise MigrationsBusy
        await asyncio.sleep(_LOCK_POLL_SECONDS)


class _LockTaken(Exception):
    """Another process is migrating at this moment."""


async def _apply_first(conn: Connection, migrations: Sequence[Migration]) -> Applied | None:
    next_one = None
    try:
        async with conn.transaction():
            await conn.execute(_SET_LIMITS)
            if not await conn.fetchval(_TRY_LOCK, _LOCK_KEY):
                raise _LockTaken
            await conn.execute(_CREATE_TABLE)
            status = _compare(migrations, await _read_applied(conn))
            if not status.pending:
                return None
            next_one = status.pending[0]
            await conn.execute(next_one.sql, timeout=None)
            if not conn.is_in_transaction():
                raise MigrationFailed(
                    file=next_one.file, reason="it must not begin or end transactions itself"
                )
            row = await conn.fetchrow(_RECORD, next_one.number, next_one.name, next_one.sha256)
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if next_one is None:
            raise
        raise MigrationFailed(file=next_one.file, reason=str(error)) from error
    assert row is not None, "INSERT ... RETURNING gives its row"
    return Applied(**row)


@contextlib.asynccontextmanager
async def _connection(database: Connection | str) -> AsyncIterator[Connection]:
    if not isinstance(database, str):
        yield database
        return
    # Nothing is asked often enough to be prepared, which not every pooler passes on.
    conn = await asyncpg.connect(
        database, timeout=_CONNECT_SECONDS_MAX, statement_cache_size=0, **connect_options(database)
    )
    try:
        yield conn
    finally:
        await conn.close(timeout=_CONNECT_SECONDS_MAX)
