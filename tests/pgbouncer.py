"""A PgBouncer in transaction mode between the tests and their Postgres.

It gives every transaction to the server connection that has waited longest, so that whatever relies on two
transactions sharing one fails at once. `make pgbouncer` runs tests behind it; no other test needs it.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg

_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
PREPARES_SINCE = (1, 21)
_READY_SECONDS_MAX = 10
_POLL_SECONDS = 0.02
_STOP_SECONDS_MAX = 10
SERVER_CONNECTIONS = 4
"""Fewer than clients have, so that they are handed around."""

ROLE_SETTINGS = {
    "statement_timeout": "10s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "15s",
    "jit": "off",
    "enable_partition_pruning": "off",
}
"""What the service asks for when it connects and the pooler drops, so that the role must have it."""


class PgBouncerMissing(Exception):
    """There is no PgBouncer on this machine; the message says what to install."""


class Pooler(NamedTuple):
    """A running PgBouncer."""

    port: int
    version: tuple[int, ...]
    prepares_statements: bool
    """It is told to pass prepared statements on."""

    def in_front_of(self, dsn: str) -> str:
        """The way to the database of `dsn` through the pooler."""
        parts = urlsplit(dsn)
        credentials = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{credentials}@127.0.0.1:{self.port}"))


def program() -> tuple[str, tuple[int, ...]]:
    """Find PgBouncer, and its version: TURNLEDGER_PGBOUNCER names it, else it is on the path.

    Raises:
        PgBouncerMissing: it is not there.
    """
    found = os.environ.get("TURNLEDGER_PGBOUNCER") or shutil.which("pgbouncer", path=_PATH)
    if found is None:
        raise PgBouncerMissing(
            "PgBouncer is not installed. On Debian and Ubuntu: apt install pgbouncer. "
            "TURNLEDGER_PGBOUNCER names one that is elsewhere."
        )
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    numbers = re.search(r"PgBouncer (\d+)\.(\d+)", told)
    assert numbers is not None, told
    return found, tuple(int(number) for number in numbers.groups())


async def set_role(conn: asyncpg.Connection, dsn: str) -> None:
    """Give the role of `dsn` in its database what the pooler drops; for connections that are made later."""
    parts = urlsplit(dsn)
    for name, value in ROLE_SETTINGS.items():
        await conn.execute(
            f'ALTER ROLE "{unquote(parts.username or "")}" IN DATABASE "{parts.path[1:]}" '
            f"SET {name} = '{value}'"
        )


@contextlib.contextmanager
def running(dsn: str, folder: Path, *, prepares_statements: bool | None = None) -> Iterator[Pooler]:
    """Run a pooler for any database of the server of `dsn`; below `folder`, which any account can enter.

    `prepares_statements` of None does what its version can do.

    Raises:
        PgBouncerMissing: there is none.
    """
    found, version = program()
    if prepares_statements is None:
        prepares_statements = version >= PREPARES_SINCE
    pooler = Pooler(_free_port(), version, prepares_statements)
    with tempfile.TemporaryDirectory(prefix="pgbouncer-", dir=folder) as place:
        settings, log = Path(place) / "pgbouncer.ini", Path(place) / "pgbouncer.log"
        _write(Path(place), settings, dsn, pooler)
        # It refuses to be root, and needs to write nowhere.
        account = ("-u", "nobody") if os.geteuid() == 0 else ()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [found, *account, str(settings)], stdout=output, stderr=subprocess.STDOUT, cwd=place
            )
        try:
            _wait_until_it_answers(pooler, process, log)
            yield pooler
        finally:
            process.terminate()
            process.wait(_STOP_SECONDS_MAX)


def _write(place: Path, settings: Path, dsn: str, pooler: Pooler) -> None:
    parts = urlsplit(dsn)
    assert parts.username is not None
    users = place / "users.txt"
    users.write_text(f'"{unquote(parts.username)}" "{unquote(parts.password or "")}"\n')
    lines = [
        "[databases]",
        f"* = host={parts.hostname} port={parts.port}",
        "[pgbouncer]",
        "listen_addr = 127.0.0.1",
        f"listen_port = {pooler.port}",
        "unix_socket_dir =",
        "auth_type = scram-sha-256",
        f"auth_file = {users}",
        "pool_mode = transaction",
        f"default_pool_size = {SERVER_CONNECTIONS}",
        "server_round_robin = 1",
        "max_client_conn = 500",
        f"ignore_startup_parameters = {', '.join(ROLE_SETTINGS)}",
    ]
    if pooler.version >= PREPARES_SINCE:
        lines.append(f"max_prepared_statements = {200 if pooler.prepares_statements else 0}")
    settings.write_text("\n".join(lines) + "\n")
    place.chmod(0o711)
    for file in (settings, users):
        file.chmod(0o644)


def _wait_until_it_answers(pooler: Pooler, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS_MAX
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", pooler.port), timeout=1):
            return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(_POLL_SECONDS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
