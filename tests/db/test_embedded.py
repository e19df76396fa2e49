"""The embedded Postgres is shared, survives kill -9 of its users and of itself, and keeps its data."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from db import embedded, embedded_cluster, postgres_binaries

LIMIT_SECONDS = 60
REPOSITORY = Path(__file__).parents[2]

# A service as its own process: tells its DSN when it is ready, leaves when its input ends.
SERVICE = """
import asyncio, sys
from pathlib import Path
from db import embedded

async def main():
    guarded = sys.argv[2] == "guarded"
    async with embedded.running(Path(sys.argv[1]), guarded=guarded) as dsn:
        print(dsn, flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


@pytest.fixture
async def data_dir(run_folder: Path) -> AsyncIterator[Path]:
    """A data folder in which no server is left, whatever the test did."""
    folder = run_folder / f"data-{os.urandom(4).hex()}"
    yield folder
    if server_lives(folder):
        await (await embedded.start(folder)).stop()
    shutil.rmtree(folder, ignore_errors=True)


class Service:
    """A process that uses the server of a data folder."""

    def __init__(self, process: asyncio.subprocess.Process, dsn: str) -> None:
        self.process = process
        self.dsn = dsn

    async def leave(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        assert await self.process.wait() == 0

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


async def start_service(data_dir: Path, *, guarded: bool = False) -> Service:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVICE, str(data_dir), "guarded" if guarded else "alone"),
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout
    async with asyncio.timeout(LIMIT_SECONDS):
        dsn = (await process.stdout.readline()).decode().strip()
    assert dsn, "the service ended before it was ready"
    return Service(process, dsn)


def server_lives(data_dir: Path) -> bool:
    """Whether a process of the server lives; they all hold this lock."""
    with contextlib.suppress(FileNotFoundError), (data_dir / "server.lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def postmaster_pid(data_dir: Path) -> int:
    return int((data_dir / "cluster" / "postmaster.pid").read_text().split()[0])


def make_folder(folder: Path, *, mode: int) -> None:
    folder.mkdir(mode=mode)


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def write_note(dsn: str, text: str) -> None:
    async with connected(dsn) as conn:
        await conn.execute("CREATE TABLE IF NOT EXISTS notes (text text)")
        await conn.execute("INSERT INTO notes VALUES ($1)", text)


async def read_notes(dsn: str) -> list[str]:
    async with connected(dsn) as conn:
        return [row["text"] for row in await conn.fetch("SELECT text FROM notes ORDER BY text")]


@contextlib.asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    conn = await asyncpg.connect(dsn, ssl=False)
    try:
        yield conn
    finally:
        await conn.close()


async def answering_again(dsn: str) -> None:
    """Return when the server answers; fail after a limit."""
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                async with connected(dsn):
                    return
            await asyncio.sleep(0)


async def until(is_true: Callable[[], bool]) -> None:
    """Return when something has become true in another process; fail after a limit."""
    async with asyncio.timeout(LIMIT_SECONDS):
        while not is_true():  # nobody over there can set an event here
            await asyncio.sleep(0)


async def replaced(pid: int, data_dir: Path) -> None:
    """Return when another server has taken the place of `pid`."""

    def is_replaced() -> bool:
        with contextlib.suppress(FileNotFoundError, IndexError, ValueError):
            return postmaster_pid(data_dir) != pid
        return False

    await until(is_replaced)


async def test_data_is_kept_between_runs_and_the_server_is_not(data_dir: Path) -> None:
    async with embedded.running(data_dir) as dsn:
        await write_note(dsn, "kept")
        assert server_lives(data_dir)

    assert not server_lives(data_dir)
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncpg.connect(dsn, ssl=False)
    async with embedded.running(data_dir) as dsn:
        assert await read_notes(dsn) == ["kept"]


async def test_the_server_stops_when_the_last_user_leaves(data_dir: Path) -> None:
    first = await embedded.start(data_dir)
    second = await embedded.start(data_dir)
    assert second.dsn == first.dsn

    await first.stop()

    await write_note(second.dsn, "still there")
    await second.stop()
    assert not server_lives(data_dir)


async def test_stopping_twice_is_stopping_once(data_dir: Path) -> None:
    first = await embedded.start(data_dir)
    second = await embedded.start(data_dir)

    await first.stop()
    await first.stop()

    assert server_lives(data_dir)
    await second.stop()


async def test_processes_that_start_at_once_share_one_server(data_dir: Path) -> None:
    services = await asyncio.gather(*(start_service(data_dir) for _ in range(4)))

    assert len({service.dsn for service in services}) == 1
    for service in services:
        assert server_lives(data_dir)
        await service.leave()
    assert not server_lives(data_dir)


async def test_the_next_start_adopts_the_server_of_a_killed_service(data_dir: Path) -> None:
    service = await start_service(data_dir)
    await write_note(service.dsn, "acknowledged")
    pid = postmaster_pid(data_dir)

    await service.kill()

    assert server_lives(data_dir)
    async with embedded.running(data_dir) as dsn:
        assert dsn == service.dsn
        assert postmaster_pid(data_dir) == pid
        assert await read_notes(dsn) == ["acknowledged"]
    assert not server_lives(data_dir)


async def test_a_killed_service_and_a_killed_server_are_recovered(data_dir: Path) -> None:
    service = await start_service(data_dir)
    await write_note(service.dsn, "acknowledged")

    os.kill(postmaster_pid(data_dir), signal.SIGKILL)
    await service.kill()

    async with embedded.running(data_dir) as dsn:
        assert await read_notes(dsn) == ["acknowledged"]


async def test_a_server_killed_in_use_comes_back_where_it_was(data_dir: Path) -> None:
    starter = await embedded.start(data_dir)
    adopter = await embedded.start(data_dir)
    await write_note(starter.dsn, "acknowledged")
    pid = postmaster_pid(data_dir)

    os.kill(pid, signal.SIGKILL)
    await replaced(pid, data_dir)
    await answering_again(starter.dsn)

    assert await read_notes(adopter.dsn) == ["acknowledged"]
    # The second user did not take the restart for a departure, nor start another one.
    await starter.stop()
    await answering_again(adopter.dsn)
    await adopter.stop()
    assert not server_lives(data_dir)


async def test_a_user_who_adopted_starts_a_dead_server_again(data_dir: Path) -> None:
    service = await start_service(data_dir)
    async with embedded.running(data_dir) as dsn:
        await service.kill()
        pid = postmaster_pid(data_dir)

        os.kill(pid, signal.SIGKILL)

        await replaced(pid, data_dir)
        await answering_again(dsn)


async def test_a_guarded_server_does_not_outlive_killed_users(data_dir: Path) -> None:
    first = await start_service(data_dir, guarded=True)
    second = await start_service(data_dir, guarded=True)

    await first.kill()
    await answering_again(second.dsn)
    await second.kill()

    await until(lambda: not server_lives(data_dir))


async def test_a_pid_file_that_names_a_living_stranger_does_not_hinder(data_dir: Path) -> None:
    async with embedded.running(data_dir) as dsn:
        await write_note(dsn, "kept")
        pid_file = (data_dir / "cluster" / "postmaster.pid").read_text()
    # As after a crash and a restart of the machine, with the pid given to somebody else: to us.
    stale = "\n".join([str(os.getpid()), *pid_file.splitlines()[1:]])
    (data_dir / "cluster" / "postmaster.pid").write_text(stale)

    async with embedded.running(data_dir) as dsn:
        assert await read_notes(dsn) == ["kept"]


async def test_an_interrupted_initialisation_is_begun_anew(data_dir: Path) -> None:
    unfinished = data_dir / "cluster.unfinished"
    (unfinished / "cluster").mkdir(parents=True)
    (unfinished / "cluster" / "PG_VERSION").write_text("18\n")
    (unfinished / "password").write_text("old")
    (data_dir / "password").write_text("")

    async with embedded.running(data_dir) as dsn:
        await write_note(dsn, "works")

    assert not unfinished.exists()


@pytest.mark.parametrize("on_quit", [signal.SIG_DFL, signal.SIG_IGN], ids=["foreground", "background"])
async def test_a_start_that_is_cancelled_leaves_nothing_running(
    data_dir: Path, on_quit: signal.Handlers
) -> None:
    before = signal.signal(signal.SIGQUIT, on_quit)  # as a shell sets it for its jobs
    try:
        starting = asyncio.create_task(embedded.start(data_dir))
        await until(lambda: server_lives(data_dir))
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    finally:
        signal.signal(signal.SIGQUIT, before)
    assert not server_lives(data_dir)


async def test_the_password_is_private_and_needed(data_dir: Path) -> None:
    async with embedded.running(data_dir) as dsn:
        password = urlsplit(dsn).password
        assert password == (data_dir / "password").read_text()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(dsn.replace(f":{password}@", ":guessed@"), ssl=False)
        async with connected(dsn) as conn:
            rules = await conn.fetch("SELECT DISTINCT auth_method FROM pg_hba_file_rules")

    assert mode_of(data_dir / "password") == 0o600
    assert mode_of(data_dir / "cluster") == 0o700
    assert [rule["auth_method"] for rule in rules] == ["scram-sha-256"]


async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    data_dir = tmp_path / "file" / "data"

    with pytest.raises(embedded_cluster.DataFolderUnusable, match=f"data folder {data_dir} cannot be made"):
        await embedded.start(data_dir)


async def test_a_missing_password_is_told(data_dir: Path) -> None:
    async with embedded.running(data_dir):
        pass
    (data_dir / "password").unlink()

    with pytest.raises(embedded.PasswordMissing, match="its password file"):
        await embedded.start(data_dir)

    assert not server_lives(data_dir)


async def test_a_server_that_cannot_start_tells_its_own_words(data_dir: Path) -> None:
    async with embedded.running(data_dir):
        pass
    with (data_dir / "cluster" / "postgresql.conf").open("a") as settings:
        settings.write("no_such_setting = 1\n")

    with pytest.raises(embedded.ServerDidNotStart, match='unrecognized configuration parameter "no_such'):
        await embedded.start(data_dir)

    assert not server_lives(data_dir)


async def test_data_of_another_version_is_told(data_dir: Path) -> None:
    (data_dir / "cluster").mkdir(parents=True)
    (data_dir / "cluster" / "PG_VERSION").write_text("9\n")

    with pytest.raises(postgres_binaries.BinariesNotFound, match="version 9 were found"):
        await embedded.start(data_dir)


async def test_another_port_is_taken_when_the_last_one_is(data_dir: Path) -> None:
    async with embedded.running(data_dir) as dsn:
        before = urlsplit(dsn).port
    assert before
    with socket.create_server(("127.0.0.1", before)):
        async with embedded.running(data_dir) as dsn:
            after = urlsplit(dsn).port

    assert after != before


async def test_the_port_is_the_same_in_the_next_run(data_dir: Path) -> None:
    async with embedded.running(data_dir) as first:
        pass
    async with embedded.running(data_dir) as second:
        pass

    assert second == first


async def test_the_socket_lies_with_the_cluster(data_dir: Path) -> None:
    async with embedded.running(data_dir, durable=False) as dsn, connected(dsn) as conn:
        assert await conn.fetchval("SHOW unix_socket_directories") == str(data_dir / "cluster")


async def test_a_path_too_long_for_a_socket_is_no_hindrance(data_dir: Path) -> None:
    long = data_dir / ("n" * 100)
    make_folder(data_dir, mode=0o711)

    async with embedded.running(long, durable=False) as dsn, connected(dsn) as conn:
        assert await conn.fetchval("SHOW unix_socket_directories") == ""


async def test_a_closed_folder_above_the_data_is_no_hindrance_and_stays_closed(
    data_dir: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(data_dir, mode=0o700)
    below = data_dir / "further" / "below"
    # A copy of the programs that root may need goes there.
    monkeypatch.setattr(embedded, "default_data_dir", lambda: run_folder / "default")

    async with embedded.running(below) as dsn:
        await write_note(dsn, "works")
    async with embedded.running(below) as dsn:
        assert await read_notes(dsn) == ["works"]

    assert mode_of(data_dir) == 0o700


async def test_an_account_kept_out_where_there_is_no_way_around_is_told(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = postgres_binaries.Account(name="somebody", user_id=os.geteuid(), group_id=os.getegid())
    monkeypatch.setattr(embedded_cluster, "server_account", lambda: account)
    monkeypatch.setattr(embedded_cluster, "for_account", lambda binaries, *_, **__: binaries)
    monkeypatch.setattr(embedded_cluster, "can_enter", lambda *_: False)
    monkeypatch.setattr(embedded_cluster, "_PROC_CWD", data_dir / "missing")

    with pytest.raises(postgres_binaries.FolderUnreachable, match=r"'somebody'.* may not enter .*data-"):
        await embedded.start(data_dir)


async def test_an_existing_data_folder_keeps_its_mode(
    data_dir: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(data_dir, mode=0o700)
    monkeypatch.setattr(embedded, "default_data_dir", lambda: run_folder / "default")

    async with embedded.running(data_dir) as dsn:
        await write_note(dsn, "works")

    assert mode_of(data_dir) == 0o700


async def test_the_server_listens_on_this_machine_only_and_is_durable(data_dir: Path) -> None:
    async with embedded.running(data_dir) as dsn, connected(dsn) as conn:
        told = {
            name: await conn.fetchval("SELECT current_setting($1)", name)
            for name in ("listen_addresses", "fsync", "synchronous_commit", "full_page_writes", "jit")
        }

    assert told == {
        "listen_addresses": "127.0.0.1",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "jit": "off",
    }


async def test_upper_and_lower_case_are_known_beyond_ascii(data_dir: Path) -> None:
    async with embedded.running(data_dir, durable=False) as dsn, connected(dsn) as conn:
        assert await conn.fetchval("SELECT lower('ÄΩ')") == "äω"
