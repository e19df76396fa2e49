"""The embedded Postgres: the first user starts it, later ones adopt it, the last one to leave stops it.

A user is a call of `start` in any process on this machine. `db.embedded_cluster` tells what lies in the data
folder, and how three locks there keep users and servers apart.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import asyncpg
from loguru import logger as log

from db import embedded_guard
from db.embedded_cluster import ROLE, Cluster, Lock, PasswordMissing, ServerDidNotStart
from db.postgres_binaries import EmbeddedPostgresError

__all__ = [
    "DATABASE",
    "ROLE",
    "DataFolderBusy",
    "EmbeddedPostgresError",
    "PasswordMissing",
    "Server",
    "ServerDidNotStart",
    "ServerDidNotStop",
    "default_data_dir",
    "running",
    "start",
]

DATABASE: Final = "turnledger"

_DATABASE_EXISTS = """
SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)
"""

_CREATE_DATABASE = """
CREATE DATABASE turnledger
"""

_LOCK_SECONDS_MAX = 120
# A server that was killed leaves children for a second or two, and they hold its port and its shared memory.
_RETRY_SECONDS_MAX = 20
# Recovery after a crash replays at most max_wal_size, here 1 GB.
_READY_SECONDS_MAX = 120
_STOP_SECONDS_MAX = 60
_QUIT_AGAIN_SECONDS = 0.2
_CONNECT_SECONDS_MAX = 10
_POLL_SECONDS = 0.02
_WATCH_SECONDS = 0.5


class ServerDidNotStop(EmbeddedPostgresError):
    """Postgres was asked to stop and still runs."""

    def __init__(self, *, data_dir: Path) -> None:
        self.data_dir = data_dir
        super().__init__(
            f"The embedded Postgres of {data_dir} was asked to stop and did not within its limit."
        )


class DataFolderBusy(EmbeddedPostgresError):
    """Somebody else has been starting or stopping the server of this folder for too long."""

    def __init__(self, *, data_dir: Path) -> None:
        self.data_dir = data_dir
        super().__init__(
            f"Another process has been starting or stopping the server of {data_dir} for too long."
        )


def default_data_dir() -> Path:
    """Where the data lies unless it is said otherwise: the user's data folder, /var/lib for root."""
    if os.geteuid() == 0:
        return Path("/var/lib/turnledger")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "turnledger"
    told = os.environ.get("XDG_DATA_HOME", "")
    # The XDG specification: a path that is not absolute is ignored.
    base = Path(told) if Path(told).is_absolute() else Path.home() / ".local" / "share"
    return base / "turnledger"


@contextlib.asynccontextmanager
async def running(data_dir: Path, *, durable: bool = True, guarded: bool = False) -> AsyncIterator[str]:
    """Use the server of `data_dir` for the length of the block, as `start` describes. Gives its DSN."""
    server = await start(data_dir, durable=durable, guarded=guarded)
    try:
        yield server.dsn
    finally:
        await server.stop()


async def start(data_dir: Path, *, durable: bool = True, guarded: bool = False) -> "Server":
    """Start the server of `data_dir`, or adopt the one that runs, and return when it answers.

    The folder is made if it is missing. Until `Server.stop`, a server that dies is started again on the same
    port, so that the DSN stays true. A server whose users were all killed lives on; the next one adopts it.

    Two settings for tests, without effect on a server that already runs: `durable=False` trades crash safety
    for speed, and `guarded=True` stops the server also when its users are killed.

    Raises:
        EmbeddedPostgresError: one of its classes, with a sentence for the person at the terminal.
    """
    server = Server(data_dir=data_dir, durable=durable, guarded=guarded)
    await server._enter()
    return server


class Server:
    """One user's hold on the server of a data folder. Made by `start`."""

    def __init__(self, *, data_dir: Path, durable: bool, guarded: bool) -> None:
        self.data_dir = data_dir.absolute()
        self.port = 0
        self.password = ""
        self._guarded = guarded
        self._cluster = Cluster(self.data_dir, fallback=default_data_dir(), durable=durable)
        self._users_lock: Lock | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._is_leaving = asyncio.Event()

    @property
    def dsn(self) -> str:
        """Where the database is; stays the same while the server is in use."""
        return self.dsn_of(DATABASE)

    def dsn_of(self, database: str) -> str:
        """Where another database of this server is."""
        return f"postgresql://{ROLE}:{self.password}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    async def stop(self) -> None:
        """Leave. If this was the last user, the server stops, and has nothing to recover at its next start.

        Raises:
            ServerDidNotStop: it still runs after the limit.
        """
        # Not cancelled: a restart that others wait for is finished first.
        self._is_leaving.set()
        if self._watcher:
            await self._watcher
            self._watcher = None
        if self._users_lock is None:
            return
        async with self._start_lock():
            is_last = self._users_lock.try_exclusive()
            self._users_lock.release()
            self._users_lock = None
            if is_last:
                await self._stop_server()
        if is_last and self._guard:
            # It waited for us to leave, and finds nothing to do.
            await asyncio.to_thread(self._guard.wait, _STOP_SECONDS_MAX)
        for process in (self._child, self._guard):
            if process and process.poll() is None:
                # It ends with the last user. Popen would complain that nobody waits for it.
                process.returncode = 0
        self._child = self._guard = None

    async def _enter(self) -> None:
        await asyncio.to_thread(self._cluster.prepare)
        try:
            async with self._start_lock():
                await self._join_users()
                await self._ensure_running()
        except BaseException:
            await self.stop()
            raise
        self._watcher = asyncio.create_task(self._watch(), name="embedded postgres watcher")

    async def _watch(self) -> None:
        """Start the server again whenever it has died. Other users watch too; the start lock lets one act."""
        while not await _is_set_within(self._is_leaving, _WATCH_SECONDS):
            if self._child.poll() is None if self._child else self._cluster.lives():
                continue
            log.warning("embedded postgres died", data_dir=str(self.data_dir))
            try:
                async with self._start_lock():
                    await self._ensure_running()
            except Exception:
                # Tried again at the next look: what is in the way may go away, and nobody else would try.
                log.exception("embedded postgres could not be started again", data_dir=str(self.data_dir))
            else:
                log.info("embedded postgres started again", data_dir=str(self.data_dir))

    @contextlib.asynccontextmanager
    async def _start_lock(self) -> AsyncIterator[None]:
        lock = Lock(self._cluster.start_lock)
        try:
            if not await _until(lock.try_exclusive, _LOCK_SECONDS_MAX):
                raise DataFolderBusy(data_dir=self.data_dir)
            yield
        finally:
            lock.close()

    # From here on everything runs under the start lock.

    async def _join_users(self) -> None:
        self._users_lock = Lock(self._cluster.users_lock)
        if not await _until(self._users_lock.try_shared, _LOCK_SECONDS_MAX):
            raise DataFolderBusy(data_dir=self.data_dir)

    async def _ensure_running(self) -> None:
        deadline = time.monotonic() + _RETRY_SECONDS_MAX
        while True:
            if self._cluster.lives():
                if await self._adopt():
                    return
            else:
                try:
                    await self._start_server()
                except ServerDidNotStart as error:
                    if not error.may_pass or time.monotonic() > deadline or self._is_leaving.is_set():
                        raise
                else:
                    return
            await asyncio.sleep(_POLL_SECONDS * 10)

    async def _adopt(self) -> bool:
        """Wait until the server that lives answers; False if it died instead."""
        self.password = self._cluster.password()
        deadline = time.monotonic() + _READY_SECONDS_MAX
        while self._cluster.lives():
            pid_file = self._cluster.pid_file()
            if pid_file and pid_file.is_ready:
                self.port = pid_file.port
                # Only our server knows our password, so an answer also proves whose it is.
                if await self._answers():
                    self._child = None
                    return True
            if time.monotonic() > deadline:
                raise self._cluster.not_started("it runs, but does not answer")
            await asyncio.sleep(_POLL_SECONDS)
        return False

    async def _start_server(self) -> None:
        cluster = self._cluster
        binaries = await asyncio.to_thread(cluster.make_ready)
        self.password = cluster.password()
        # In use the port may not change: the DSN is in other hands by then.
        self.port = cluster.choose_port(required=self.port if self._watcher else None)
        command = await asyncio.to_thread(cluster.command, binaries, port=self.port)
        child = await self._launch(command)
        try:
            await self._wait_for(child)
        except BaseException:
            await asyncio.to_thread(_end_at_once, child)
            raise
        self._child = child
        if self._guarded and self._guard is None:
            self._guard = _spawn_guard(self.data_dir)

    async def _launch(self, command: list[str]) -> subprocess.Popen[bytes]:
        server_lock = Lock(self._cluster.server_lock)
        try:
            # The look of another user's watcher holds it for microseconds.
            if not await _until(server_lock.try_exclusive, _RETRY_SECONDS_MAX):
                raise self._cluster.not_started("its lock is held")
            return self._cluster.launch(command, server_lock)
        finally:
            # The child has its own copy of the descriptor, and with it the lock.
            server_lock.close()

    async def _wait_for(self, child: subprocess.Popen[bytes]) -> None:
        if not await _until(lambda: self._is_ready(child), _READY_SECONDS_MAX):
            raise self._cluster.not_started("it was not ready in time")
        if not await self._answers():
            raise self._cluster.not_started("it was ready and did not answer")

    def _is_ready(self, child: subprocess.Popen[bytes]) -> bool:
        if child.poll() is not None:
            raise self._cluster.not_started(f"it ended with code {child.returncode}")
        pid_file = self._cluster.pid_file()
        return pid_file is not None and pid_file.is_ready

    async def _answers(self) -> bool:
        """Whether the server takes our password; makes our database at the first time."""
        try:
            conn = await asyncpg.connect(self.dsn_of("postgres"), ssl=False, timeout=_CONNECT_SECONDS_MAX)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        try:
            if not await conn.fetchval(_DATABASE_EXISTS, DATABASE):
                await conn.execute(_CREATE_DATABASE)
        finally:
            await conn.close(timeout=_CONNECT_SECONDS_MAX)
        return True

    async def _stop_server(self) -> None:
        pid_file = self._cluster.pid_file()
        if pid_file and self._cluster.lives():
            with contextlib.suppress(ProcessLookupError):
                # The fast shutdown: sessions are ended, a checkpoint is written.
                os.kill(pid_file.pid, signal.SIGINT)
        if not await _until(lambda: not self._cluster.lives(), _STOP_SECONDS_MAX):
            raise ServerDidNotStop(data_dir=self.data_dir)
        if self._child:
            self._child.wait(_STOP_SECONDS_MAX)


def _end_at_once(child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _STOP_SECONDS_MAX
    while True:
        # Said again: where a shell started us in the background, it is lost on a server without handlers yet.
        child.send_signal(signal.SIGQUIT)
        try:
            child.wait(_QUIT_AGAIN_SECONDS)
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                raise
        else:
            return


async def _until(is_done: Callable[[], bool], seconds_max: float) -> bool:
    """Wait until `is_done` says so, asking often; False when the limit has passed."""
    deadline = time.monotonic() + seconds_max
    while not is_done():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_SECONDS)
    return True


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


def _spawn_guard(data_dir: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  # our own Python, our own file
        [sys.executable, "-I", "-S", embedded_guard.__file__, data_dir],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
