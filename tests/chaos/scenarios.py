"""What a run is made of: how much is said, what goes wrong meanwhile, and when it is enough."""

import msgspec

from tests.chaos.clients import EVERYTHING, Manners
from tests.chaos.crash_points import CRASH_POINTS

LEASE_SECONDS = 3
_SLOW = "words=60 delay_ms=50"
_SLOWER = "words=120 delay_ms=50"


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of run."""

    manners: Manners = EVERYTHING
    conversations: int = 24
    organizations: int = 3
    clients_each: int = 2
    tool_conversations: int = 0
    """With agents that have tools, beside the others, with clients and organizations of their own."""
    decisions_min: int = 0
    """Of people, about tool calls."""
    repetitions_min: int = 0
    """Of tool calls that a dead worker had made, by its successor."""
    network: bool = False
    """Whether the proxies cut, delay and drop."""
    turns_min: int = 50
    kills_min: int = 0
    pauses_min: int = 0
    resumes_min: int = 10
    seconds_min: float = 0
    seconds_max: float = 60
    """Time after which the run ends, whatever was reached."""
    crash_points: tuple[str, ...] = ()
    """Each must be passed at least once."""
    pause_at: str = ""
    """A point at which workers are stopped until others are in the midst of their turns, again and again."""
    kills_servers: bool = False
    kills_workers: bool = False
    kills_postgres: bool = False
    pause_seconds: float = 4
    """Between two faults of one kind of process, on average."""
    postgres_seconds: float = 12
    """The same, of Postgres: without it nothing moves."""
    lease_seconds: int = LEASE_SECONDS
    ends_with_one_worker: bool = False
    """At the end all workers are killed at work, and one that knows nothing of their turns must find them."""
    quiet_seconds_max: float = 60
    """Time in which every turn must be final after the last fault."""

    @property
    def is_calm(self) -> bool:
        """Nothing happens to a process that runs turns."""
        return not (
            self.network or self.kills_workers or self.kills_postgres or self.pause_at or self.crash_points
        )


def full(*, turns: int, kills: int, seconds_max: float) -> Scenario:
    """Everything at once: what `make chaos` runs. Streams are resumed at least once for each turn.

    In a long run faults are rarer. In a short one hardly anybody is up for more than some seconds; here
    sessions grow long, and what is harmed has been at work for a while.
    """
    calmer = min(4, max(1, turns / 2000))
    return Scenario(
        conversations=48,
        tool_conversations=12,
        network=True,
        turns_min=turns,
        kills_min=kills,
        resumes_min=turns,
        seconds_max=seconds_max,
        crash_points=tuple(CRASH_POINTS),
        kills_servers=True,
        kills_workers=True,
        kills_postgres=True,
        pause_seconds=4 * calmer,
        postgres_seconds=12 * calmer,
    )


def short(*, seconds: float) -> Scenario:
    """The same for a fixed time, with as much of it as fits."""
    return Scenario(
        conversations=32,
        tool_conversations=8,
        network=True,
        seconds_min=seconds,
        seconds_max=seconds,
        kills_servers=True,
        kills_workers=True,
        kills_postgres=True,
        pause_seconds=3,
    )


def _talking(plan: str, **operations: int) -> Manners:
    return Manners(operations=operations, plans={plan: 1}, any_revision=0)


def _waiting(plan: str) -> Manners:
    """Nobody interrupts, so that turns are taken over and not cancelled."""
    return Manners(
        operations={"send": 90, "rename": 10}, plans={plan: 1}, any_revision=0, if_active=("reject",)
    )


_TARGETED = Scenario(
    conversations=12,
    organizations=2,
    clients_each=2,
    turns_min=10,
    seconds_min=14,
    seconds_max=14,
    quiet_seconds_max=20,
)

SCENARIOS = {
    "crowd": msgspec.structs.replace(
        _TARGETED,
        conversations=6,
        clients_each=6,
        manners=_talking("words=2", send=50, rename=50, rewind=10),
    ),
    "cancels": msgspec.structs.replace(_TARGETED, manners=_talking(_SLOW, send=50, cancel=50)),
    "lost-answers": msgspec.structs.replace(_TARGETED, network=True),
    "zombies": msgspec.structs.replace(
        _TARGETED,
        manners=_waiting(_SLOWER),
        pause_at="after the model, before the ledger",
        pauses_min=5,
        seconds_max=50,
    ),
    "silent-zombies": msgspec.structs.replace(
        _TARGETED,
        manners=_waiting(_SLOWER),
        pause_at="before a flush of deltas",
        pauses_min=5,
        seconds_max=50,
    ),
    "deaths": msgspec.structs.replace(
        _TARGETED,
        manners=_waiting(_SLOW),
        kills_workers=True,
        # Longer than a worker takes to start and to carry out what waits: no sign leads it to the rest.
        lease_seconds=12,
        ends_with_one_worker=True,
        quiet_seconds_max=30,
    ),
    "deaths-before-the-commit": msgspec.structs.replace(
        _TARGETED,
        manners=_waiting("words=6 delay_ms=5"),
        crash_points=("after the ledger, before the commit", "before the commit of a turn"),
        seconds_max=30,
    ),
    "cut-streams": msgspec.structs.replace(
        _TARGETED,
        # So few commits beside the deltas that none of them carries these to the disk in passing.
        conversations=2,
        clients_each=1,
        turns_min=4,
        kills_postgres=True,
        postgres_seconds=3,
        manners=_waiting(_SLOWER),
        kills_min=6,
        seconds_max=50,
    ),
    "tools": msgspec.structs.replace(
        _TARGETED,
        conversations=0,
        tool_conversations=14,
        kills_workers=True,
        pause_seconds=2,
        crash_points=(
            "after a tool's answer, before it is written",
            "after the answer of a tool that may be asked again",
        ),
        decisions_min=15,
        repetitions_min=3,
        seconds_min=25,
        seconds_max=60,
        quiet_seconds_max=40,
    ),
    "power-cuts": msgspec.structs.replace(
        _TARGETED,
        conversations=20,
        kills_postgres=True,
        postgres_seconds=3,
        kills_min=4,
        seconds_max=40,
        manners=_talking("words=2", send=60, rename=40),
    ),
}
"""The targeted runs, each with what brings its mutants to light and little else."""
