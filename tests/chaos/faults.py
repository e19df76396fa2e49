"""What goes wrong during a run: kills, pauses and crash points, each kind of process by a task of its own."""

import asyncio
import itertools
import random
import signal
import time

import msgspec

from tests.chaos.crash_points import CRASH_POINTS
from tests.chaos.scenarios import Scenario
from tests.chaos.stage import Node, Stage

_CRASH_SECONDS_MAX = 15
_RARE_SECONDS_MAX = 45
_DRAIN_SECONDS_MAX = 30
_ZOMBIE_SECONDS = 1
"""In which one that goes on does whatever it still does."""
_RARE = frozenset(
    {
        "after a session is created, before the reply",
        "after text was taken back",
        "while a turn is handed back",
        "before a repetition is answered",
    }
)
"""Passed so seldom that a process dies there the first time, and is given longer to come to it."""
_PASSED_OVER_MAX = {
    "after a tool's answer, before it is written": 3,
    "after the answer of a tool that may be asked again": 2,
}
"""Passed less often than the others: a process dies there sooner."""
_ON_DRAIN = "while a turn is handed back"


class Tally(msgspec.Struct, kw_only=True):
    """What has gone wrong so far."""

    server_kills: int = 0
    worker_kills: int = 0
    postgres_kills: int = 0
    pauses: int = 0
    drains: int = 0
    passed: dict[str, int] = {}
    """How often a process died at each crash point."""
    died_alone: list[str] = []
    """Processes that nobody had harmed."""

    @property
    def kills(self) -> int:
        """All kill -9."""
        return self.server_kills + self.worker_kills + self.postgres_kills


class Faults:
    """Harms the stage until it is cancelled; whoever cancels calms the stage down."""

    def __init__(self, stage: Stage, scenario: Scenario, *, seed: int) -> None:
        self._stage = stage
        self._scenario = scenario
        self._random = random.Random(seed)
        self.tally = Tally()

    @property
    def missing_points(self) -> list[str]:
        """Crash points that no process has died at yet."""
        return [point for point in self._scenario.crash_points if point not in self.tally.passed]

    async def run(self) -> None:
        """Go on harming."""
        scenario, servers, workers = self._scenario, self._stage.servers, self._stage.workers
        async with asyncio.TaskGroup() as group:
            if scenario.crash_points:
                # The last of each is left to chance; so nobody is harmed by two at once.
                group.create_task(self._pass_points(servers[:-1], "server"))
                group.create_task(self._pass_points(workers[:-1], "worker"))
                servers, workers = servers[-1:], workers[-1:]
            if scenario.kills_servers:
                group.create_task(self._harm(servers))
            if scenario.kills_workers:
                group.create_task(self._harm(workers))
            if scenario.pause_at:
                group.create_task(self._make_zombies(workers[:-1], scenario.pause_at))
            if scenario.kills_postgres:
                group.create_task(self._harm_postgres())

    async def _pass_points(self, nodes: list[Node], role: str) -> None:
        """Have processes die at the points that are missing; then at all of them again."""
        points = [point for point in self._scenario.crash_points if CRASH_POINTS[point].where == role]
        while points:
            missing = [point for point in points if point not in self.tally.passed]
            # One that has died at a point is started anew for the next.
            node = next((node for node in nodes if not node.is_running), self._random.choice(nodes))
            await self._crash(node, self._random.choice(missing or points), nodes)
            if not missing:
                node.start()
                await node.ready()
                await self._wait()

    async def _harm(self, nodes: list[Node]) -> None:
        while True:
            await self._wait()
            self.tally.died_alone += [f"{node.name}: see {node.log}" for node in nodes if not node.is_running]
            await self._random_harm(self._random.choice(nodes))

    async def _crash(self, node: Node, point: str, nodes: list[Node]) -> None:
        """Start a process anew with a crash point armed, and wait until it has died there, or will not."""
        if node.is_running:
            self._kill(node)
        count = 1 if point in _RARE else self._random.randint(1, _PASSED_OVER_MAX.get(point, 12))
        node.start(crash=f"{point}:{count}")
        await node.ready()
        deadline = time.monotonic() + (_RARE_SECONDS_MAX if point in _RARE else _CRASH_SECONDS_MAX)
        while time.monotonic() < deadline and not await node.ended(1.5):
            if point == _ON_DRAIN:
                node.signal(signal.SIGTERM)
            elif point in _RARE and node.role == "worker":
                # Text is taken back by whoever takes a turn over.
                victim = self._random.choice([other for other in nodes if other is not node])
                self._kill(victim)
                victim.start()
                await victim.ready()
        if node.passed() == point:
            self.tally.passed[point] = self.tally.passed.get(point, 0) + 1
            self._count(node)
        node.kill()

    async def _random_harm(self, node: Node) -> None:
        match self._random.choice(("kill", "kill", "pause", "drain")):
            case "kill":
                self._kill(node)
                await asyncio.sleep(self._random.uniform(0, 1))
            case "pause":
                await self._pause(node, self._random.uniform(0.3, 2 * self._scenario.lease_seconds))
                return
            case _:
                self.tally.drains += 1
                node.signal(signal.SIGTERM)
                if not await node.ended(_DRAIN_SECONDS_MAX):
                    raise AssertionError(f"{node.name} did not end on SIGTERM: see {node.log}")
        node.start()
        await node.ready()

    async def _make_zombies(self, nodes: list[Node], point: str) -> None:
        """Stop one worker after the other until others are in the midst of its turns, and let it go on."""
        for node in nodes:
            node.kill()
            node.start(crash=f"{point}:pause", is_armed=False)
        for node in nodes:
            await node.ready()
        for node in itertools.cycle(nodes):
            node.arm()
            try:
                async with asyncio.timeout(_CRASH_SECONDS_MAX):
                    while node.passed() is None:
                        await asyncio.sleep(0.02)
                await self._stage.taken_over(node, seconds_max=2 * self._scenario.lease_seconds)
            except TimeoutError:
                continue
            finally:
                node.disarm()
                node.signal(signal.SIGCONT)
            await asyncio.sleep(_ZOMBIE_SECONDS)
            self.tally.pauses += 1

    async def _harm_postgres(self) -> None:
        while True:
            await asyncio.sleep(self._random.uniform(0.5, 1.5) * self._scenario.postgres_seconds)
            if self._random.random() < 0.3 and self._scenario.kills_workers:
                self.tally.pauses += 1
                self._stage.postgres.pause()
                try:
                    await asyncio.sleep(self._random.uniform(0.2, 3))
                finally:
                    self._stage.postgres.go_on()
            else:
                self.tally.postgres_kills += 1
                self._stage.postgres.kill()
                # Whoever cancels us must find it running.
                await asyncio.shield(self._stage.postgres.start())

    async def _pause(self, node: Node, seconds: float) -> None:
        self.tally.pauses += 1
        node.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            node.signal(signal.SIGCONT)

    def _kill(self, node: Node) -> None:
        node.kill()
        self._count(node)

    def _count(self, node: Node) -> None:
        if node.role == "server":
            self.tally.server_kills += 1
        else:
            self.tally.worker_kills += 1

    async def _wait(self) -> None:
        await asyncio.sleep(self._random.expovariate(1 / self._scenario.pause_seconds))
