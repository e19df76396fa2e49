"""A durable server for a benchmark, with a migrated database that is dropped afterwards."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import msgspec

from db import embedded
from db.migrate import migrate, migrations_folder
from db.pool import connect_options

SERVER_VARIABLE = "TURNLEDGER_BENCH_DATABASE_URL"
"""Names a server to measure on; its role may create databases. Without it the embedded server is started."""

_NAME = "turnledger_bench"


class Database(msgspec.Struct, frozen=True, kw_only=True):
    """Where a benchmark works."""

    dsn: str
    wal_folder: Path | None
    """Where the server keeps its WAL; None for a server that is not ours."""


@contextlib.asynccontextmanager
async def bench_database(name: str = _NAME) -> AsyncIterator[Database]:
    """A migrated, empty database; the embedded server keeps its data safe here as in production."""
    given = os.environ.get(SERVER_VARIABLE)
    if given:
        async with _fresh(given, name) as dsn:
            yield Database(dsn=dsn, wal_folder=None)
        return
    with _folder() as folder:
        async with (
            embedded.running(folder, durable=True, guarded=True) as server,
            _fresh(server, name) as dsn,
        ):
            yield Database(dsn=dsn, wal_folder=folder / "cluster" / "pg_wal")


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="turnledger-bench-"))
    try:
        folder.chmod(0o711)
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.asynccontextmanager
async def _fresh(server_dsn: str, name: str) -> AsyncIterator[str]:
    dsn = urlunsplit(urlsplit(server_dsn)._replace(path=f"/{name}"))
    admin = await asyncpg.connect(server_dsn, **connect_options(server_dsn))
    try:
        await admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await admin.execute(f'CREATE DATABASE "{name}"')
        await migrate(dsn, migrations_folder())
        yield dsn
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await admin.close()
