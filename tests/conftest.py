"""A database for the tests: every test that asks gets its own, copied from a migrated template.

The server is the one that TURNLEDGER_TEST_DATABASE_URL names, else a container when a container engine
answers, else the embedded one, shared by all workers of a run. Nothing is started for a run in which no test
asks. With TURNLEDGER_TEST_PGBOUNCER=on the pool of a test goes through a PgBouncer in transaction mode (`make
pgbouncer`).
"""

import contextlib
import gc
import hashlib
import itertools
import os
import shutil
import signal
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from db import embedded
from db.migrate import migrate, migrations_folder
from db.pool import connect_options, open_pool
from tests import pgbouncer
from tests.run_folder import make_run_folder
from tests.shared_database import shared_database

_RUN_FOLDER = "TURNLEDGER_TEST_RUN_FOLDER"
_ENGINE_SECONDS_MAX = 2
_CONTAINER_IMAGE = "postgres:18-alpine"


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder of this run; workers inherit its name."""
    # A run in the background of a shell ignores this, and so would every process that a test interrupts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        os.environ[_RUN_FOLDER] = str(make_run_folder())


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the folder when the last worker is gone, and with it the embedded server's data."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(_RUN_FOLDER))


@pytest.fixture(scope="session")
def run_folder() -> Path:
    """A folder that lives as long as the run, one for all workers; every account can enter it."""
    return Path(os.environ[_RUN_FOLDER])


@pytest.fixture(scope="session")
async def server_dsn(run_folder: Path) -> AsyncIterator[str]:
    """A server on which we may create databases."""
    given = os.environ.get("TURNLEDGER_TEST_DATABASE_URL")
    if given:
        yield given
    elif _engine_answers():
        with _container() as dsn:
            yield dsn
    else:
        # The guard stops it should all workers be killed.
        async with embedded.running(run_folder / "postgres", durable=False, guarded=True) as dsn:
            yield dsn


@pytest.fixture(scope="session")
async def admin(server_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """The connection that creates and drops the databases of this worker."""
    conn = await asyncpg.connect(server_dsn, **connect_options(server_dsn))
    yield conn
    await conn.close()


@pytest.fixture(scope="session")
async def template_database(
    server_dsn: str, admin: asyncpg.Connection, run_folder: Path
) -> AsyncIterator[str]:
    """The name of a migrated, empty database; the first worker of a run makes it for all."""
    digest = hashlib.sha256(os.fsencode(run_folder))
    for file in sorted(migrations_folder().glob("*.sql")):
        digest.update(file.read_bytes())
    name = f"turnledger_template_{digest.hexdigest()[:12]}"

    async def fill() -> None:
        await migrate(_dsn_of(server_dsn, name), migrations_folder())

    async with shared_database(admin, name, fill=fill):
        yield name


@pytest.fixture
async def database_url(
    server_dsn: str, admin: asyncpg.Connection, template_database: str
) -> AsyncIterator[str]:
    """The DSN of a migrated, empty database for this test alone."""
    # Copied as files: a tenth of the time that the default takes, which copies through the WAL.
    name = f"{template_database}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{next(_numbers)}"
    await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template_database}" STRATEGY file_copy')
    yield _dsn_of(server_dsn, name)
    await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
async def pooler(server_dsn: str, run_folder: Path) -> AsyncIterator[pgbouncer.Pooler | None]:
    """A pooler in front of the server, for a run that asks for one."""
    if os.environ.get("TURNLEDGER_TEST_PGBOUNCER") != "on":
        yield None
    else:
        with pgbouncer.running(server_dsn, run_folder) as started:
            yield started


@pytest.fixture
async def pool(
    database_url: str, admin: asyncpg.Connection, pooler: pgbouncer.Pooler | None
) -> AsyncIterator[asyncpg.Pool]:
    """An open pool on `database_url`."""
    dsn = database_url
    if pooler is not None:
        await pgbouncer.set_role(admin, database_url)
        dsn = pooler.in_front_of(database_url)
    prepares = pooler is None or pooler.prepares_statements
    async with await open_pool(dsn, size_max=10, prepares_statements=prepares) as opened:
        yield opened


_numbers = itertools.count(1)


def _dsn_of(dsn: str, database: str) -> str:
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{database}"))


def _engine_answers() -> bool:
    """Whether a container engine is there: asked with a short limit, and any fault is a no."""
    import docker

    # Without an engine the client leaves its socket to the garbage collector, which warns.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            with contextlib.closing(docker.from_env(timeout=_ENGINE_SECONDS_MAX)) as client:
                answers = bool(client.ping())
        except (docker.errors.DockerException, OSError):
            answers = False
        gc.collect()
    return answers


@contextlib.contextmanager
def _container() -> Iterator[str]:
    from testcontainers.community.postgres import PostgresContainer

    with PostgresContainer(_CONTAINER_IMAGE, driver=None) as container:
        yield container.get_connection_url()
