"""A Postgres that may be killed at any moment: a direct child, waited for, and started again where it was."""

import asyncio
import contextlib
import signal
import subprocess
import time
from pathlib import Path

import asyncpg
import psutil

from db.embedded_cluster import ROLE, Cluster, Lock, ServerDidNotStart

START_SECONDS_MAX = 60
_POLL_SECONDS = 0.02
_DATABASE = "turnledger"
_UNWRITTEN = {
    # The WAL writer flushes every 200 ms what nobody waits for. So seldom, a commit that was acknowledged
    # before it was on the disk is gone when the server is killed.
    "wal_writer_delay": "10s",
    "wal_writer_flush_after": "1GB",
    "wal_buffers": "16MB",
}


class Postgres:
    """One durable cluster in a folder of its own, made of the embedded server's parts."""

    def __init__(self, folder: Path) -> None:
        self._cluster = Cluster(folder, fallback=Path("/var/tmp/turnledger-chaos"), durable=True)
        self._child: subprocess.Popen[bytes] | None = None
        self._command: list[str] = []
        self.port = 0

    @property
    def dsn(self) -> str:
        """Of the database, straight to the server."""
        return self.dsn_at(self.port)

    def dsn_at(self, port: int, database: str = _DATABASE) -> str:
        """Of the database, by way of whatever listens on `port` of this machine."""
        return f"postgresql://{ROLE}:{self._cluster.password()}@127.0.0.1:{port}/{database}"

    async def start(self) -> None:
        """Start, or start again after a kill, and wait until it answers.

        Raises:
            ServerDidNotStart: it did not come up within START_SECONDS_MAX.
        """
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                # Old children of a killed server hold its lock and its shared memory for a moment.
                while self._cluster.folder.exists() and self._cluster.lives():
                    if time.monotonic() > deadline:
                        raise self._cluster.not_started("processes of the former server do not end")
                    await asyncio.sleep(_POLL_SECONDS)
                await self._launch()
                await self._wait_until_it_answers(deadline)
            except ServerDidNotStart as error:
                if not error.may_pass or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_POLL_SECONDS * 10)
            else:
                return

    def kill(self) -> None:
        """Kill every process of the server at once, as a power cut would; what was not written is gone."""
        assert self._child is not None
        self._signal(signal.SIGKILL)
        self._child.wait()

    def pause(self) -> None:
        """Stop every process of the server where it is."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let a paused server go on."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it, however it is."""
        if self._child is not None and self._child.poll() is None:
            self.go_on()
            self._child.send_signal(signal.SIGINT)
            try:
                self._child.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to all processes; each of the server's is the leader of a group of its own."""
        assert self._child is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            server = psutil.Process(self._child.pid)
            # Stopped, it starts no others behind our back.
            server.suspend()
            for process in (*server.children(recursive=True), server):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(number)

    async def _launch(self) -> None:
        if not self._command:
            self._cluster.prepare()
            binaries = await asyncio.to_thread(self._cluster.make_ready)
            self.port = self._cluster.choose_port(required=None)
            self._command = await asyncio.to_thread(self._cluster.command, binaries, port=self.port)
            for setting, value in _UNWRITTEN.items():
                self._command += ["-c", f"{setting}={value}"]
        else:
            await asyncio.to_thread(self._cluster.make_ready)
        lock = Lock(self._cluster.server_lock)
        try:
            if not lock.try_exclusive():
                raise self._cluster.not_started("its lock is held")
            self._child = self._cluster.launch(self._command, lock)
        finally:
            lock.close()

    async def _wait_until_it_answers(self, deadline: float) -> None:
        assert self._child is not None
        while time.monotonic() < deadline:
            if self._child.poll() is not None:
                raise self._cluster.not_started(f"it ended with code {self._child.returncode}")
            try:
                conn = await asyncpg.connect(self.dsn_at(self.port, "postgres"), ssl=False, timeout=5)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await asyncio.sleep(_POLL_SECONDS)
                continue
            if not await conn.fetchval("SELECT true FROM pg_database WHERE datname = $1", _DATABASE):
                await conn.execute(f"CREATE DATABASE {_DATABASE}")
            await conn.close()
            return
        raise self._cluster.not_started("it did not answer in time")
