"""The stage of a run: a Postgres, a provider, servers and workers as real processes, proxies between them."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import asyncpg
import httpx
import msgspec

from api.events import Hub
from api.store import Store
from db.migrate import migrate, migrations_folder
from db.pool import open_pool
from tests.chaos import tool_agents
from tests.chaos.clients import Conversation
from tests.chaos.mutants import Mutant
from tests.chaos.postgres import Postgres
from tests.chaos.proxy import Proxy

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS_MAX = 120
_RESTART_SECONDS = 0.3
_TAKEN_SECONDS_MAX = 5
_MODEL = "openai:gpt-5-mini"
_DISARMED = "none"

_ANYTHING_UNDER_WAY = """
SELECT EXISTS (SELECT FROM turns WHERE state IN ('pending', 'awaiting_approval'))
    OR EXISTS (SELECT FROM runs WHERE state = 'running')
"""

_ANY_TURN_IS_UNHEARD = """
SELECT EXISTS (SELECT FROM runs l
                 JOIN turns t ON t.id = l.turn_id AND t.state = 'pending'
                WHERE l.runner = $1
                  AND NOT EXISTS (SELECT FROM runs r
                                    JOIN steps s ON s.run_id = r.id
                                    JOIN deltas d ON d.step_id = s.id
                                   WHERE r.turn_id = l.turn_id AND r.runner <> l.runner
                                     AND r.state = 'running'))
"""

_ANY_TURN_WAITS = """
SELECT EXISTS (SELECT FROM turns t
                WHERE t.state = 'pending'
                  AND NOT EXISTS (SELECT FROM runs r WHERE r.turn_id = t.id AND r.state = 'running'))
"""

_SETTINGS = {
    "TURNLEDGER_HEARTBEAT_SECONDS": "1",
    "TURNLEDGER_POLL_INTERVAL_MS": "150",
    "TURNLEDGER_DELTA_FLUSH_MS": "100",
    "TURNLEDGER_POOL_SIZE_MAX": "8",
    "TURNLEDGER_MODEL_STALL_SECONDS": "1",
    "TURNLEDGER_MODEL_RETRIES_MAX": "1",
    # The provider fails on purpose, and for single turns; it is not down.
    "TURNLEDGER_MODEL_CIRCUIT_FAILURES_MAX": "1000",
    "TURNLEDGER_TURN_SECONDS_MAX": "20",
    "TURNLEDGER_SHUTDOWN_GRACE_SECONDS": "0.5",
    "OPENAI_API_KEY": "none-is-needed",
}


class Node:
    """One process of the product, on a port that it keeps."""

    def __init__(self, name: str, role: str, *, folder: Path, environ: dict[str, str], mutant: str) -> None:
        self.name = name
        self.role = role
        """`server` or `worker`."""
        self.port = _free_port()
        self.log = folder / f"{name}.log"
        self._mark = folder / f"{name}.passed"
        self._environ = environ | ({"CHAOS_MUTANT": mutant} if mutant else {})
        self._process: subprocess.Popen[bytes] | None = None
        self._crash: str | None = None
        self._log_position = 0

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def runner(self) -> str:
        """The name under which it runs turns."""
        assert self._process is not None
        return f"{socket.gethostname()}:{self._process.pid}"

    def start(self, *, crash: str | None = None, is_armed: bool = True) -> None:
        """Start it, with a crash point (`point:count`) or none."""
        assert not self.is_running
        if is_armed:
            self.arm()
        else:
            self.disarm()
        self._crash = crash
        environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TURNLEDGER_", "OPENAI_", "ANTHROPIC_", "CHAOS_"))
        } | self._environ
        if crash is not None:
            environ["CHAOS_CRASH"] = f"{crash}:{self._mark}"
        with self.log.open("ab") as log:
            self._log_position = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.process", *self._words()],
                cwd=ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def arm(self) -> None:
        """Let it die at its crash point, or stop there."""
        self._mark.unlink(missing_ok=True)

    def disarm(self) -> None:
        """Let it pass the point at which it would stop."""
        self._mark.write_text(_DISARMED)

    def passed(self) -> str | None:
        """Name the crash point that it has come to; None when it has not."""
        mark = self._mark.read_text() if self._mark.exists() else _DISARMED
        return None if mark == _DISARMED else mark

    def kill(self) -> None:
        """Kill it as nothing can be caught, and wait for its end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, should it live."""
        if self._process is not None and self.is_running:
            self._process.send_signal(number)

    async def ended(self, seconds_max: float) -> bool:
        """Wait for its end; False when it has not come in time."""
        deadline = time.monotonic() + seconds_max
        while self.is_running:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    async def ready(self) -> None:
        """Wait until it says that it serves or runs turns, or has died at its crash point.

        Started while the database is away it ends, and is started again, as a supervisor would.
        """
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline:
            has_ended = not self.is_running
            if self.passed() is not None or self._has_said_ready():
                return
            if has_ended:
                await asyncio.sleep(_RESTART_SECONDS)
                self.start(crash=self._crash)
            await asyncio.sleep(0.05)
        raise AssertionError(f"{self.name} did not become ready: see {self.log}")

    def _has_said_ready(self) -> bool:
        with self.log.open("rb") as log:
            log.seek(self._log_position)
            said = log.read()
        return any(word in said for word in (b"Turnledger answers on", b"Turnledger runs turns"))

    def _words(self) -> list[str]:
        if self.role == "worker":
            return ["worker", "--runners", "8"]
        return ["serve", "--host", "127.0.0.1", "--port", str(self.port), "--runners", "0"]


class Stage:
    """Everything that runs; `async with` starts it and clears it away."""

    def __init__(self, *, seed: int, mutant: Mutant | None, network: bool, lease_seconds: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="turnledger-chaos-"))
        self.folder.chmod(0o711)
        self._random = random.Random(seed)
        self._mutant = mutant
        self._network = network
        self._lease_seconds = lease_seconds
        self.postgres = Postgres(self.folder / "postgres")
        self.nodes: list[Node] = []
        self.proxies: list[Proxy] = []
        self._provider: subprocess.Popen[bytes] | None = None
        self.addresses: list[str] = []
        """Of the servers, as clients reach them."""

    @property
    def servers(self) -> list[Node]:
        """Those that answer clients."""
        return [node for node in self.nodes if node.role == "server"]

    @property
    def workers(self) -> list[Node]:
        """Those that run turns."""
        return [node for node in self.nodes if node.role == "worker"]

    async def __aenter__(self) -> "Stage":
        try:
            await self._start()
        except BaseException:
            await self._clear()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._clear()

    async def conversations(
        self, count: int, *, organizations: int, tools_at: str | None = None
    ) -> list[Conversation]:
        """Make organizations with a key and an agent each, and spread this many conversations over them.

        With `tools_at`, the base URL of a server on this machine, the agents have tools.
        """
        definition = {"model": _MODEL, "instructions": "Count.", "limits": {"context_tokens": 512}}
        if tools_at is not None:
            definition = tool_agents.definition(_MODEL, tools_at)
        keys = []
        async with await open_pool(self.postgres.dsn, size_max=2) as pool:
            store = Store(pool, Hub())
            for number in range(organizations):
                organization = await store.access.create_organization(f"chaos {number}")
                keys.append((await store.access.create_key(organization.id, name="chaos")).secret)
                if tools_at is not None:
                    await store.organization_settings.change_tool_hosts_allowed(
                        organization.id, lambda _: ("127.0.0.1",)
                    )
        agents = []
        async with httpx.AsyncClient(timeout=10) as client:
            for key in keys:
                answer = await client.post(
                    f"http://127.0.0.1:{self.servers[0].port}/v1/agents",
                    headers={"Authorization": f"Bearer {key}"},
                    json={"name": "Counter", "definition": definition},
                )
                assert answer.status_code == 201, answer.text
                agents.append(answer.json()["agent_id"])
        return [
            Conversation(keys[number % organizations], agents[number % organizations])
            for number in range(count)
        ]

    async def calm_down(self) -> None:
        """End all faults: a good network, everything running, nothing paused."""
        for proxy in self.proxies:
            proxy.is_bad = False
        self.postgres.go_on()
        for node in self.nodes:
            node.signal(signal.SIGCONT)
            if not node.is_running:
                node.start()
        for node in self.nodes:
            await node.ready()

    async def leave_one_worker(self) -> None:
        """Kill them all in the midst of their turns, and start one that knows nothing of those."""
        deadline = time.monotonic() + _TAKEN_SECONDS_MAX
        while await self._ask(_ANY_TURN_WAITS) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        for node in self.workers:
            node.kill()
        self.workers[0].start()
        await self.workers[0].ready()

    async def taken_over(self, node: Node, *, seconds_max: float) -> None:
        """Wait until others are in the midst of all turns that a stopped worker had, or this time is over."""
        deadline = time.monotonic() + seconds_max
        while await self._ask(_ANY_TURN_IS_UNHEARD, node.runner) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)

    async def quiet(self, seconds_max: float) -> float | None:
        """Wait until no turn is unfinished and no run holds one; answers the seconds, None if it never is."""
        began_at = time.monotonic()
        while time.monotonic() - began_at < seconds_max:
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                if not await self._ask(_ANYTHING_UNDER_WAY):
                    return time.monotonic() - began_at
            await asyncio.sleep(0.2)
        return None

    async def findings(self) -> list[tuple[str, str]]:
        """Run `turnledger doctor` over everything: check and subject of what it finds."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "api", "doctor", "--json", "--sessions", "100000",
            cwd=ROOT,
            env={"PATH": os.defpath, "HOME": str(self.folder), "TURNLEDGER_DATABASE_URL": self.postgres.dsn},
            stdout=subprocess.PIPE,
        )  # fmt: skip
        output, _ = await process.communicate()
        assert process.returncode in (0, 1), "the doctor came to its end"
        return [
            (diagnosis["check"], f"{finding['subject']}: {finding['detail']}")
            for diagnosis in msgspec.json.decode(output)
            for finding in diagnosis["findings"]
        ]

    async def _start(self) -> None:
        await self.postgres.start()
        await migrate(self.postgres.dsn, migrations_folder())
        if self._mutant is not None and self._mutant.sql:
            conn = await asyncpg.connect(self.postgres.dsn, ssl=False)
            await conn.execute(self._mutant.sql)
            await conn.close()
        provider_port = _free_port()
        with (self.folder / "provider.log").open("wb") as log:
            self._provider = subprocess.Popen(
                [sys.executable, "-m", "tests.providers.server", "--port", str(provider_port)],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        database = Proxy(
            self.postgres.port, seed=self._random.random().__hash__(), cut=0.002, delay=0.004, drop=0.001
        )
        await self._add(database)
        for role, count in (("server", 2), ("worker", 3)):
            for number in range(1, count + 1):
                # The last of each reaches its database by the bad network.
                port = database.port if number == count else self.postgres.port
                environ = _SETTINGS | {
                    "TURNLEDGER_LEASE_SECONDS": str(self._lease_seconds),
                    "TURNLEDGER_DATABASE_URL": self.postgres.dsn_at(port),
                    "OPENAI_BASE_URL": f"http://127.0.0.1:{provider_port}/v1",
                }
                self.nodes.append(
                    Node(
                        f"{role}-{number}",
                        role,
                        folder=self.folder,
                        environ=environ,
                        mutant=self._mutant.name if self._mutant else "",
                    )
                )
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            await node.ready()
        for node in self.servers:
            proxy = Proxy(node.port, seed=self._random.random().__hash__(), cut=0.01, delay=0.02, drop=0.02)
            await self._add(proxy)
            self.addresses.append(f"http://127.0.0.1:{proxy.port}")

    async def _ask(self, question: str, *arguments: object) -> bool:
        conn = await asyncpg.connect(self.postgres.dsn, ssl=False)
        try:
            return bool(await conn.fetchval(question, *arguments))
        finally:
            await conn.close()

    async def _add(self, proxy: Proxy) -> None:
        proxy.is_bad = self._network
        await proxy.start()
        self.proxies.append(proxy)

    async def _clear(self) -> None:
        for node in self.nodes:
            node.kill()
        if self._provider is not None:
            self._provider.kill()
            self._provider.wait()
        for proxy in self.proxies:
            await proxy.stop()
        await asyncio.to_thread(self.postgres.stop)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
