"""The embedded Postgres: started when the first user comes, adopted by later ones, stopped when the last one
leaves.

A user is a call of `start` in any process on this machine. A data folder holds

    cluster/        what Postgres itself keeps, 0700, owned by the account that runs it
    password        of the only role, 0600
    port            of the last start, so that a restarted server is found where it was
    postgres.log    what the server said
    start.lock      held while somebody starts or stops the server
    users.lock      shared by all users: the reference count; a user who is killed leaves too
    server.lock     inherited by every process of the server: free if and only if none of them lives

All three locks are flock(2). The last one makes pid files harmless: a pid may be stale, reused, or a zombie
that nobody has reaped; a lock is none of these.
"""

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import asyncpg
from loguru import logger as log

from db import embedded_guard
from db.postgres_binaries import (
    Binaries,
    EmbeddedPostgresError,
    FolderUnreachable,
    can_enter,
    find_binaries,
    for_account,
    server_account,
)

ROLE: Final = "turnledger"
DATABASE: Final = "turnledger"

_LOCK_SECONDS_MAX = 120
# A server that was killed leaves children for a second or two, and they hold its port and its shared memory.
_RETRY_SECONDS_MAX = 20
# Recovery after a crash replays at most max_wal_size, here 1 GB.
_READY_SECONDS_MAX = 120
_STOP_SECONDS_MAX = 60
_CONNECT_SECONDS_MAX = 10
_POLL_SECONDS = 0.02
_WATCH_SECONDS = 0.5
_SOCKET_PATH_BYTES_MAX = 107
_LOG_BYTES_MAX = 10_000_000
_LOG_LINES_SHOWN = 12
# In the words of the C locale, which the server runs in.
_PASSING_HINDRANCES = ("shared memory block", "lock file", "Address already in use")


class PasswordMissing(EmbeddedPostgresError):
    """The data folder holds a database, but not the password to it."""

    def __init__(self, *, file: Path) -> None:
        self.file = file
        super().__init__(
            f"{file.parent} holds a database, but its password file {file} is missing. Put it back."
        )


class ServerDidNotStart(EmbeddedPostgresError):
    """Postgres ended, or was not ready in time."""

    def __init__(self, *, reason: str, log_file: Path, said: str) -> None:
        self.reason = reason
        self.log_file = log_file
        self.said = said
        super().__init__(f"The embedded Postgres did not start: {reason}. It said, in {log_file}:\n{said}")

    @property
    def may_pass(self) -> bool:
        """Whether another attempt may succeed: something of a former server is still in the way."""
        return any(hindrance in self.said for hindrance in _PASSING_HINDRANCES)


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
    port, so that the DSN stays true. A server whose users were all killed lives on, and the next one adopts
    it.

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
        self._durable = durable
        self._guarded = guarded
        self._account = server_account()
        self._folders = _Folders(self.data_dir)
        self._users_lock: _Lock | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._is_leaving = asyncio.Event()
        self._log_position = 0

    @property
    def dsn(self) -> str:
        """Where the database is; stays the same while the server is in use."""
        return self.dsn_of(DATABASE)

    def dsn_of(self, database: str) -> str:
        """Where another database of this server is."""
        return f"postgresql://{ROLE}:{self.password}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    async def stop(self) -> None:
        """Leave. The server stops if this was its last user, cleanly: nothing is to be recovered at the next
        start.

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
        await asyncio.to_thread(self._prepare_folder)
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
            if self._child.poll() is None if self._child else self._server_lives():
                continue
            log.warning("embedded postgres died", data_dir=str(self.data_dir))
            try:
                async with self._start_lock():
                    await self._ensure_running()
            except EmbeddedPostgresError:
                # Tried again at the next look: whatever is in the way may go away, and nobody else would try.
                log.exception("embedded postgres could not be started again", data_dir=str(self.data_dir))
            else:
                log.info("embedded postgres started again", data_dir=str(self.data_dir))

    @contextlib.asynccontextmanager
    async def _start_lock(self) -> AsyncIterator[None]:
        lock = _Lock(self._folders.start_lock)
        try:
            if not await _until(lock.try_exclusive, _LOCK_SECONDS_MAX):
                raise DataFolderBusy(data_dir=self.data_dir)
            yield
        finally:
            lock.close()

    # From here on everything runs under the start lock.

    async def _join_users(self) -> None:
        self._users_lock = _Lock(self._folders.users_lock)
        if not await _until(self._users_lock.try_shared, _LOCK_SECONDS_MAX):
            raise DataFolderBusy(data_dir=self.data_dir)

    async def _ensure_running(self) -> None:
        deadline = time.monotonic() + _RETRY_SECONDS_MAX
        while True:
            if self._server_lives():
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

    def _server_lives(self) -> bool:
        """Whether any process of the server lives: they all hold its lock."""
        lock = _Lock(self._folders.server_lock)
        try:
            return not lock.try_shared()
        finally:
            lock.release()

    async def _adopt(self) -> bool:
        """Wait until the server that lives answers; False if it died instead."""
        self.password = self._read_password()
        deadline = time.monotonic() + _READY_SECONDS_MAX
        while self._server_lives():
            pid_file = _read_pid_file(self._folders.cluster)
            if pid_file and pid_file.is_ready:
                self.port = pid_file.port
                # Only our server knows our password, so an answer also proves whose it is.
                if await self._answers():
                    self._child = None
                    return True
            if time.monotonic() > deadline:
                raise self._not_started("it runs, but does not answer")
            await asyncio.sleep(_POLL_SECONDS)
        return False

    async def _start_server(self) -> None:
        cluster = self._folders.cluster
        version_file = cluster / "PG_VERSION"
        existing = int(version_file.read_text()) if version_file.is_file() else None
        binaries = await asyncio.to_thread(self._binaries, existing)
        if existing is None:
            await asyncio.to_thread(self._initialise, binaries)
        self.password = self._read_password()
        # No process of the server lives, so its pid file is stale; the pid in it may be anybody's by now.
        (cluster / "postmaster.pid").unlink(missing_ok=True)
        self.port = _choose_port(preferred=_read_port(self._folders.port))
        child = await self._spawn(binaries)
        try:
            await self._wait_for(child)
        except BaseException:
            child.send_signal(signal.SIGQUIT)
            child.wait(_STOP_SECONDS_MAX)
            raise
        self._child = child
        self._folders.port.write_text(f"{self.port}\n")
        if self._guarded and self._guard is None:
            self._guard = self._spawn_guard()

    async def _wait_for(self, child: subprocess.Popen[bytes]) -> None:
        if not await _until(lambda: self._is_ready(child), _READY_SECONDS_MAX):
            raise self._not_started("it was not ready in time")
        if not await self._answers():
            raise self._not_started("it was ready and did not answer")

    def _is_ready(self, child: subprocess.Popen[bytes]) -> bool:
        if child.poll() is not None:
            raise self._not_started(f"it ended with code {child.returncode}")
        pid_file = _read_pid_file(self._folders.cluster)
        return pid_file is not None and pid_file.is_ready

    async def _spawn(self, binaries: Binaries) -> subprocess.Popen[bytes]:
        command = [str(binaries.folder / "postgres"), "-D", self._folder_argument(self._folders.cluster)]
        settings = _server_settings(
            port=self.port, socket_folder=self._socket_folder(), durable=self._durable
        )
        if await asyncio.to_thread(
            self._accepts, [*command, "-C", "wal_compression", "-c", "wal_compression=lz4"]
        ):
            settings["wal_compression"] = "lz4"
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        server_lock = _Lock(self._folders.server_lock)
        try:
            # A shared probe by another user's watcher holds it for microseconds.
            if not await _until(server_lock.try_exclusive, _RETRY_SECONDS_MAX):
                raise self._not_started("its lock is held")
            with self._open_log() as log_file:
                return self._popen(command, output=log_file.fileno(), inherited=(server_lock.descriptor,))
        finally:
            # The child has its own copy of the descriptor, and with it the lock.
            server_lock.close()

    async def _answers(self) -> bool:
        """Whether the server takes our password; makes our database at the first time."""
        try:
            conn = await asyncpg.connect(self.dsn_of("postgres"), ssl=False, timeout=_CONNECT_SECONDS_MAX)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        try:
            if not await conn.fetchval(
                "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", DATABASE
            ):
                await conn.execute(f'CREATE DATABASE "{DATABASE}"')
        finally:
            await conn.close(timeout=_CONNECT_SECONDS_MAX)
        return True

    async def _stop_server(self) -> None:
        pid_file = _read_pid_file(self._folders.cluster)
        if pid_file and self._server_lives():
            with contextlib.suppress(ProcessLookupError):
                # The fast shutdown: sessions are ended, a checkpoint is written.
                os.kill(pid_file.pid, signal.SIGINT)
        if not await _until(lambda: not self._server_lives(), _STOP_SECONDS_MAX):
            raise ServerDidNotStop(data_dir=self.data_dir)
        if self._child:
            self._child.wait(_STOP_SECONDS_MAX)

    def _spawn_guard(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603  # our own Python, our own file
            [sys.executable, "-I", "-S", embedded_guard.__file__, self.data_dir],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    # Folders and processes. These block, and are called in a thread where that lasts.

    def _prepare_folder(self) -> None:
        if not self.data_dir.is_dir():
            self.data_dir.mkdir(mode=0o711 if self._account else 0o700, parents=True, exist_ok=True)
        if self._account:
            # The folder is ours to open: entering is all it allows, what lies in it has modes of its own.
            self.data_dir.chmod(self.data_dir.stat().st_mode | 0o111)
            if not can_enter(self.data_dir, self._account) and not _PROC_CWD.exists():
                raise FolderUnreachable(folder=self.data_dir, account=self._account.name)

    def _binaries(self, major_version: int | None) -> Binaries:
        binaries = find_binaries(major_version=major_version)
        return for_account(binaries, self._account, places=(self.data_dir, default_data_dir()))

    def _initialise(self, binaries: Binaries) -> None:
        """Make the cluster in a folder of its own and move it into place when it is whole."""
        unfinished = self._folders.unfinished
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if not self._folders.password.exists():
            _write_private(self._folders.password, secrets.token_urlsafe(24))
        handed_over = self.data_dir / "password.handed-over"
        handed_over.unlink(missing_ok=True)
        _write_private(handed_over, self._read_password())
        if self._account:
            for path in (unfinished, handed_over):
                os.chown(path, self._account.user_id, self._account.group_id)
        command = [
            str(binaries.folder / "initdb"),
            f"--pgdata={self._folder_argument(unfinished)}",
            f"--pwfile={self._folder_argument(unfinished)}/../{handed_over.name}",
            f"--username={ROLE}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
        ]
        if binaries.major_version >= 17:
            # Upper and lower case beyond ASCII, with no library and the same on every machine.
            command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if not self._durable:
            command.append("--no-sync")
        try:
            with self._open_log() as log_file:
                code = self._popen(command, output=log_file.fileno(), folder=unfinished).wait(
                    _READY_SECONDS_MAX
                )
        finally:
            handed_over.unlink()
        if code != 0:
            raise self._not_started(f"initdb ended with code {code}")
        unfinished.rename(self._folders.cluster)

    def _accepts(self, command: list[str]) -> bool:
        return self._popen(command, output=subprocess.DEVNULL).wait(_READY_SECONDS_MAX) == 0

    def _popen(
        self, command: list[str], *, output: int, inherited: tuple[int, ...] = (), folder: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Run a program of the server as its account, out of reach of the Ctrl-C that is for the service."""
        account = self._account
        return subprocess.Popen(  # noqa: S603  # the server's own programs
            command,
            cwd=folder or self._folders.cluster,
            env={"LC_ALL": "C", "PATH": os.defpath},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=inherited,
            start_new_session=True,
            umask=0o077,
            user=account.user_id if account else None,
            group=account.group_id if account else None,
            extra_groups=[] if account else None,
        )

    @contextlib.contextmanager
    def _open_log(self) -> Iterator[BinaryIO]:
        """Open the log to append to it, from the beginning when it has grown too long."""
        file = self._folders.log
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as opened:
            if opened.tell() > _LOG_BYTES_MAX:
                opened.truncate(0)
            self._log_position = file.stat().st_size
            yield opened

    def _folder_argument(self, folder: Path) -> str:
        """How the server's account calls `folder`, which is the working directory of the program it is given
        to.

        Root's folders are often closed to others (0700), and opening what is not ours is out of the question.
        Linux gives a name that does not pass through them.
        """
        if self._account and not can_enter(self.data_dir, self._account):
            return str(_PROC_CWD)
        return str(folder)

    def _socket_folder(self) -> str:
        """Where the Unix socket goes: with the cluster, or nowhere if its path is too long for the system."""
        cluster = self._folder_argument(self._folders.cluster)
        fits = len(os.fsencode(f"{cluster}/.s.PGSQL.65535")) <= _SOCKET_PATH_BYTES_MAX
        # A comma separates folders in that setting.
        return cluster if fits and "," not in cluster else ""

    def _read_password(self) -> str:
        try:
            return self._folders.password.read_text().strip()
        except FileNotFoundError:
            raise PasswordMissing(file=self._folders.password) from None

    def _not_started(self, reason: str) -> ServerDidNotStart:
        log_file = self._folders.log
        return ServerDidNotStart(
            reason=reason, log_file=log_file, said=_said_since(log_file, self._log_position)
        )


_PROC_CWD = Path("/proc/self/cwd")


class _Folders:
    """The paths in a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.cluster = data_dir / "cluster"
        self.unfinished = data_dir / "cluster.unfinished"
        self.password = data_dir / "password"
        self.port = data_dir / "port"
        self.log = data_dir / "postgres.log"
        self.start_lock = data_dir / "start.lock"
        self.users_lock = data_dir / "users.lock"
        self.server_lock = data_dir / "server.lock"


@dataclass(frozen=True, kw_only=True)
class _PidFile:
    pid: int
    port: int
    is_ready: bool


class _Lock:
    """A flock(2) on a file of its own open descriptor, so that two users in one process count as two."""

    def __init__(self, file: Path) -> None:
        self.descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def try_shared(self) -> bool:
        return self._try(fcntl.LOCK_SH)

    def try_exclusive(self) -> bool:
        return self._try(fcntl.LOCK_EX)

    def release(self) -> None:
        """Give the lock up, for everybody who shares the descriptor."""
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        self.close()

    def close(self) -> None:
        """Give up our descriptor; the lock lasts as long as a child has it open."""
        os.close(self.descriptor)

    def _try(self, kind: int) -> bool:
        try:
            fcntl.flock(self.descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


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


def _server_settings(*, port: int, socket_folder: str, durable: bool) -> dict[str, str]:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": socket_folder,
        "max_connections": "100",
        "shared_buffers": "128MB",
        "max_wal_size": "1GB",
        # Full page images are most of the WAL of small commits; `on` is pglz, which every build has.
        "wal_compression": "on",
        "password_encryption": "scram-sha-256",
        # Short queries gain nothing from either, and compiling costs more than they take.
        "jit": "off",
        "max_parallel_workers_per_gather": "0",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_checkpoints": "off",
        "fsync": "on",
    }
    if not durable:
        settings |= {
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "wal_level": "minimal",
            "max_wal_senders": "0",
            "autovacuum": "off",
        }
    return settings


def _choose_port(*, preferred: int | None) -> int:
    """Return the preferred port if nobody listens there, else any free one."""
    for port in (preferred, 0) if preferred else (0,):
        with socket.socket() as probe:
            # As the server itself does it: connections of a former server that are closing are no hindrance.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free TCP port on 127.0.0.1")


def _read_port(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (FileNotFoundError, ValueError):
        return None


def _read_pid_file(cluster: Path) -> _PidFile | None:
    """Read what the server says of itself; None while it is missing or half written."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
        return _PidFile(pid=int(lines[0]), port=int(lines[3]), is_ready=lines[7].strip() == "ready")
    except (FileNotFoundError, ValueError, IndexError):
        return None


def _write_private(file: Path, text: str) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(text)


def _said_since(file: Path, position: int) -> str:
    try:
        with file.open(errors="replace") as opened:
            opened.seek(position)
            return "".join(opened.readlines()[-_LOG_LINES_SHOWN:])
    except FileNotFoundError:
        return "(nothing)"
