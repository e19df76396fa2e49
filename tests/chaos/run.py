"""One run: the stage is set, clients talk while things break, all comes to rest, and the checker judges."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from api.events import Hub
from api.runner.leaks import settle_leaked
from api.store import Store
from db.pool import open_pool
from tests.chaos.checker import Violation, check
from tests.chaos.clients import Clients
from tests.chaos.facts import Facts, read_facts
from tests.chaos.faults import Faults, Tally
from tests.chaos.history import History, Outcome
from tests.chaos.mutants import Mutant
from tests.chaos.readers import Readers
from tests.chaos.scenarios import LEASE_SECONDS, Scenario
from tests.chaos.stage import Stage
from tests.chaos.tool_agents import MADE_AGAIN, MANNERS, Deciders, ToolClients
from tests.chaos.tool_checker import ToolFacts, check_tools, read_tool_facts
from tests.chaos.tool_server import Arrival, ToolServer

_LOOK_SECONDS = 0.25
_END_SECONDS_MAX = 90
_READ_SECONDS = 2


class Result(msgspec.Struct, kw_only=True):
    """What became of a run."""

    seed: int
    seconds: float
    tally: Tally
    history: History
    facts: Facts
    quiet_seconds: float | None
    """From the last fault until every turn was final; None when that did not come."""
    network_faults: int
    violations: list[Violation]
    arrivals: list[Arrival]
    """Tool calls, at their server."""
    tool_facts: ToolFacts
    shortfalls: list[str]
    """What the run was to reach and did not: then it has proven nothing."""
    folder: Path
    """Logs of the processes, and the cluster."""

    @property
    def is_good(self) -> bool:
        """Nothing was violated, and the run was what it should be."""
        return not self.violations and not self.shortfalls


Progress = Callable[[float, History, Faults], None]


async def perform(scenario: Scenario, *, seed: int, mutant: Mutant | None, progress: Progress) -> Result:
    """Run a scenario from beginning to end."""
    began_at = time.monotonic()
    history = History()
    async with (
        ToolServer(seed=seed) as tool_server,
        Stage(
            seed=seed, mutant=mutant, network=scenario.network, lease_seconds=scenario.lease_seconds
        ) as stage,
    ):
        conversations = await stage.conversations(
            scenario.conversations, organizations=scenario.organizations
        )
        with_tools = await stage.conversations(
            scenario.tool_conversations, organizations=scenario.organizations, tools_at=tool_server.base_url
        )
        clients = Clients(stage.addresses, history, scenario.manners, seed=seed)
        tool_clients = ToolClients(stage.addresses, history, MANNERS, seed=seed, prefix="t")
        deciders = Deciders(stage.addresses, history, MANNERS, seed=seed, prefix="d")
        faults = Faults(stage, scenario, seed=seed)
        readers = Readers(stage.addresses, history, seed=seed)
        reading = asyncio.create_task(readers.run([*conversations, *with_tools]))
        talking = asyncio.gather(
            clients.run(conversations, clients_each=scenario.clients_each),
            tool_clients.run(with_tools, clients_each=scenario.clients_each),
        )
        deciding = asyncio.create_task(deciders.decide(with_tools))
        harming = asyncio.create_task(faults.run())
        try:
            tasks = (talking, reading, deciding, harming)
            await _until_enough(scenario, history, faults, tool_server.arrivals, tasks, progress)
        finally:
            harming.cancel()
            await asyncio.gather(harming, return_exceptions=True)
        calm_at = time.monotonic()
        await stage.calm_down()
        tool_server.is_good = True
        clients.stop()
        tool_clients.stop()
        if scenario.ends_with_one_worker:
            await stage.leave_one_worker()
        async with asyncio.timeout(_END_SECONDS_MAX):
            await talking
        quiet_seconds = await stage.quiet(scenario.quiet_seconds_max)
        deciders.stop()
        if quiet_seconds is not None:
            quiet_seconds = time.monotonic() - calm_at
            # Readers that are behind come to what was said last.
            await asyncio.sleep(_READ_SECONDS)
        readers.stop()
        async with asyncio.timeout(_END_SECONDS_MAX):
            await asyncio.gather(reading, deciding)
        if quiet_seconds is not None:
            await _settle_leaked(stage)
        facts = await read_facts(stage.postgres.dsn)
        facts.findings = await stage.findings()
        tool_facts = await read_tool_facts(stage.postgres.dsn)
    return Result(
        seed=seed,
        seconds=time.monotonic() - began_at,
        tally=faults.tally,
        history=history,
        facts=facts,
        quiet_seconds=quiet_seconds,
        network_faults=sum(proxy.fault_count for proxy in stage.proxies),
        violations=[
            *check(history, facts, is_calm=scenario.is_calm),
            *(
                Violation(kind=kind, detail=detail)
                for kind, detail in check_tools(tool_server.arrivals, tool_facts)
            ),
            *(Violation(kind="a process died alone", detail=detail) for detail in faults.tally.died_alone),
        ],
        shortfalls=_shortfalls(scenario, history, faults, tool_server.arrivals),
        arrivals=tool_server.arrivals,
        tool_facts=tool_facts,
        folder=stage.folder,
    )


async def _until_enough(
    scenario: Scenario,
    history: History,
    faults: Faults,
    arrivals: list[Arrival],
    tasks: tuple[asyncio.Future[Any], ...],
    progress: Progress,
) -> None:
    began_at = time.monotonic()
    while (seconds := time.monotonic() - began_at) < scenario.seconds_max:
        progress(seconds, history, faults)
        if seconds >= scenario.seconds_min and not _shortfalls(scenario, history, faults, arrivals):
            return
        for task in tasks:
            if task.done() and task.exception() is not None:
                task.result()
        await asyncio.sleep(_LOOK_SECONDS)


def decision_count(history: History) -> int:
    """Decisions that people were told are theirs."""
    return sum(
        call.operation == "decide" and call.outcome is Outcome.ACKNOWLEDGED for call in history.calls.values()
    )


def repetition_count(arrivals: Sequence[Arrival]) -> int:
    """Calls that came again, nobody having been asked: their first maker was gone."""
    times = Counter(arrival.argument for arrival in arrivals if arrival.tool == MADE_AGAIN)
    return sum(count > 1 for count in times.values())


def _shortfalls(
    scenario: Scenario, history: History, faults: Faults, arrivals: Sequence[Arrival]
) -> list[str]:
    turns = turn_count(history)
    short = [f"crash point never passed: {point}" for point in faults.missing_points]
    if turns < scenario.turns_min:
        short.append(f"{turns} turns of {scenario.turns_min}")
    if history.resume_count < scenario.resumes_min:
        short.append(f"{history.resume_count} stream resumes of {scenario.resumes_min}")
    if decision_count(history) < scenario.decisions_min:
        short.append(f"{decision_count(history)} decisions of {scenario.decisions_min}")
    if repetition_count(arrivals) < scenario.repetitions_min:
        short.append(f"{repetition_count(arrivals)} repeated tool calls of {scenario.repetitions_min}")
    if faults.tally.kills < scenario.kills_min:
        short.append(f"{faults.tally.kills} kills of {scenario.kills_min}")
    if faults.tally.pauses < scenario.pauses_min:
        short.append(f"{faults.tally.pauses} pauses of {scenario.pauses_min}")
    return short


def turn_count(history: History) -> int:
    """Turns that clients have made and been told of."""
    return sum(
        call.operation in ("send", "regenerate", "retry") and call.outcome is Outcome.ACKNOWLEDGED
        for call in history.calls.values()
    )


async def _settle_leaked(stage: Stage) -> None:
    """Let living processes settle what they ended, then do at once what the service does after a minute."""
    async with await open_pool(stage.postgres.dsn, size_max=2) as pool:
        running = Store(pool, Hub()).running
        deadline = time.monotonic() + LEASE_SECONDS
        while await running.leaked(older_than_seconds=0, limit=1) and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        await settle_leaked(running, older_than_seconds=0)
