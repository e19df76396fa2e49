"""The cluster of an embedded Postgres: its files, and the programs that run on them. Everything here blocks.

A data folder holds

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

import contextlib
import fcntl
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

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

_RUN_SECONDS_MAX = 120
_SOCKET_PATH_BYTES_MAX = 107
_LOG_BYTES_MAX = 10_000_000
_LOG_LINES_SHOWN = 12
_PROC_CWD = Path("/proc/self/cwd")
# In the words of the C locale, which the server runs in.
_PASSING_HINDRANCES = ("shared memory block", "lock file", "Address already in use")


class PasswordMissing(EmbeddedPostgresError):
    """The data folder holds a database, but not the password to it."""

    def __init__(self, *, file: Path) -> None:
        self.file = file
        super().__init__(
            f"{file.parent} holds a database, but its password file {file} is missing. Put it back."
        )


class DataFolderUnusable(EmbeddedPostgresError):
    """The data folder is missing and cannot be made."""

    def __init__(self, *, data_dir: Path, reason: str) -> None:
        self.data_dir = data_dir
        self.reason = reason
        super().__init__(
            f"The data folder {data_dir} cannot be made: {reason}. TURNLEDGER_DATA_DIR names another one, "
            "TURNLEDGER_DATABASE_URL a server of your own."
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


@dataclass(frozen=True, kw_only=True)
class PidFile:
    """What a server says of itself."""

    pid: int
    port: int
    is_ready: bool


class Cluster:
    """The files of one data folder and the programs that run on them."""

    def __init__(self, data_dir: Path, *, fallback: Path, durable: bool) -> None:
        """`fallback` takes a copy of the programs if `data_dir` cannot be entered by the server's account."""
        self.data_dir = data_dir
        self.folder = data_dir / "cluster"
        self.log = data_dir / "postgres.log"
        self.start_lock = data_dir / "start.lock"
        self.users_lock = data_dir / "users.lock"
        self.server_lock = data_dir / "server.lock"
        self.account = server_account()
        self._fallback = fallback
        self._durable = durable
        self._password = data_dir / "password"
        self._port = data_dir / "port"
        self._log_position = 0

    def prepare(self) -> None:
        """Make the data folder if it is missing. One that exists keeps its mode.

        Raises:
            DataFolderUnusable: it cannot be made.
        """
        # Others may pass through; what lies in the folder has modes of its own.
        try:
            self.data_dir.mkdir(mode=0o711 if self.account else 0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise DataFolderUnusable(data_dir=self.data_dir, reason=error.strerror or str(error)) from error

    def lives(self) -> bool:
        """Whether any process of the server lives: they all hold its lock."""
        lock = Lock(self.server_lock)
        try:
            return not lock.try_shared()
        finally:
            lock.close()

    def pid_file(self) -> PidFile | None:
        """Read what the server says of itself; None while that is missing or half written."""
        try:
            lines = (self.folder / "postmaster.pid").read_text().splitlines()
            return PidFile(pid=int(lines[0]), port=int(lines[3]), is_ready=lines[7].strip() == "ready")
        except (FileNotFoundError, ValueError, IndexError):
            return None

    def password(self) -> str:
        """Read the password of the role.

        Raises:
            PasswordMissing: there is none.
        """
        try:
            return self._password.read_text().strip()
        except FileNotFoundError:
            raise PasswordMissing(file=self._password) from None

    def make_ready(self) -> Binaries:
        """Initialise the cluster if that was not done, clear up after a dead server, and return its programs.

        Nobody else may be doing this, and no process of the server may live.

        Raises:
            BinariesNotFound: there are no programs of the cluster's version.
            FolderUnreachable: the server's account cannot enter a folder, and there is no way around that.
            ServerDidNotStart: initdb failed.
        """
        version_file = self.folder / "PG_VERSION"
        version = int(version_file.read_text()) if version_file.is_file() else None
        binaries = for_account(
            find_binaries(major_version=version), self.account, places=(self.data_dir, self._fallback)
        )
        # Before version 16 the programs left their working directory on the way, and could not return to it.
        can_go_around = _PROC_CWD.exists() and binaries.major_version >= 16
        if self.account and not can_go_around and not can_enter(self.data_dir, self.account):
            raise FolderUnreachable(folder=self.data_dir, account=self.account.name)
        if version is None:
            self._initialise(binaries)
        # No process of the server lives, so its pid file is stale; the pid in it may be anybody's by now.
        (self.folder / "postmaster.pid").unlink(missing_ok=True)
        return binaries

    def choose_port(self, *, required: int | None) -> int:
        """Return the port of the last start if nobody listens there, else any free one; remember it.

        Raises:
            ServerDidNotStart: the required port is taken.
        """
        for candidate in (required,) if required else (self._last_port(), 0):
            with socket.socket() as probe:
                # As the server does it: connections of a former server that are closing are no hindrance.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with contextlib.suppress(OSError):
                    probe.bind(("127.0.0.1", candidate))
                    port = int(probe.getsockname()[1])
                    self._port.write_text(f"{port}\n")
                    return port
        raise self.not_started(f"port {required} on 127.0.0.1 is taken" if required else "no port is free")

    def command(self, binaries: Binaries, *, port: int) -> list[str]:
        """Return the words that run the server."""
        name = self._name_of(self.folder)
        words = [str(binaries.folder / "postgres"), "-D", name]
        # A comma would separate two folders.
        fits = len(os.fsencode(f"{name}/.s.PGSQL.65535")) <= _SOCKET_PATH_BYTES_MAX and "," not in name
        settings = _server_settings(port=port, socket_folder=name if fits else "", durable=self._durable)
        probe = [*words, "-C", "wal_compression", "-c", "wal_compression=lz4"]
        if self._popen(probe, output=subprocess.DEVNULL).wait(_RUN_SECONDS_MAX) == 0:
            settings["wal_compression"] = "lz4"
        for setting, value in settings.items():
            words += ["-c", f"{setting}={value}"]
        return words

    def launch(self, command: list[str], server_lock: "Lock") -> subprocess.Popen[bytes]:
        """Run the server as a child that holds `server_lock` from its first moment on."""
        with self._open_log() as log_file:
            return self._popen(command, output=log_file.fileno(), inherited=(server_lock.descriptor,))

    def not_started(self, reason: str) -> ServerDidNotStart:
        """Make the error that tells `reason`, and what the server said since it was launched."""
        said = _said_since(self.log, self._log_position)
        return ServerDidNotStart(reason=reason, log_file=self.log, said=said)

    def _last_port(self) -> int:
        try:
            return int(self._port.read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def _initialise(self, binaries: Binaries) -> None:
        """Make the cluster in a folder of its own and move it into place when it is whole."""
        unfinished = self.data_dir / "cluster.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        made, handed_over = unfinished / "cluster", unfinished / "password"
        for folder in (unfinished, made):
            folder.mkdir(mode=0o700)
        self._password.unlink(missing_ok=True)
        _write_private(self._password, secrets.token_urlsafe(24))
        _write_private(handed_over, self.password())
        if self.account:
            for path in (unfinished, made, handed_over):
                os.chown(path, self.account.user_id, self.account.group_id)
        name = self._name_of(made)
        command = [
            str(binaries.folder / "initdb"),
            f"--pgdata={name}",
            f"--pwfile={name}/../{handed_over.name}",
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
        with self._open_log() as log_file:
            code = self._popen(command, output=log_file.fileno(), folder=made).wait(_RUN_SECONDS_MAX)
        if code != 0:
            raise self.not_started(f"initdb ended with code {code}")
        made.rename(self.folder)
        shutil.rmtree(unfinished)

    def _name_of(self, folder: Path) -> str:
        """Return the server's name for `folder`, the working directory of the program that it is given to.

        Root's folders are often closed to others (0700), and opening what is not ours is out of the question.
        Linux has a name that does not pass through them.
        """
        if self.account and not can_enter(self.data_dir, self.account):
            return str(_PROC_CWD)
        return str(folder)

    def _popen(
        self, command: list[str], *, output: int, folder: Path | None = None, inherited: tuple[int, ...] = ()
    ) -> subprocess.Popen[bytes]:
        """Run a program of the server as its account, out of reach of the Ctrl-C that is for the service."""
        account = self.account
        return subprocess.Popen(  # noqa: S603  # the server's own programs
            command,
            cwd=folder or self.folder,
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
        file = self.log
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as opened:
            if opened.tell() > _LOG_BYTES_MAX:
                opened.truncate(0)
            self._log_position = file.stat().st_size
            yield opened


class Lock:
    """A flock(2) on a file of its own open descriptor, so that two users in one process count as two."""

    def __init__(self, file: Path) -> None:
        self.descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def try_shared(self) -> bool:
        """Hold it with others who share it; False if somebody holds it alone."""
        return self._try(fcntl.LOCK_SH)

    def try_exclusive(self) -> bool:
        """Hold it alone; False if anybody else holds it."""
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
