"""How long a turn waits when its worker is killed: from kill -9 to the claim of the next attempt.

    python -m bench.takeover

Each of eight `turnledger worker` processes, as deployed and with one place, runs one turn whose model is
silent. Another worker stands by. Each of the eight is killed at a moment of its own, drawn by chance from the
time of two heartbeats; the database's clock is read right before the kill and at the claim.
"""

import asyncio
import os
import random
import signal
from contextlib import AsyncExitStack
from statistics import median
from uuid import UUID

import asyncpg
import msgspec

from api.agents.definition import Definition
from api.events import Hub
from api.session.commands import IfActive
from api.settings import Settings
from api.store import Store
from bench.database import bench_database
from bench.report import run, show
from bench.service import provider, working
from bench.tenants import make_tenants, open_sessions
from db.pool import Pool, open_pool

_KILLS = 8
_BAR_SECONDS = 20.0
_SECONDS_MAX = 60
_LOOK_SECONDS = 0.05
_TEXT = "Say it. [[stall_after=1]]"
_DEFINITION = Definition(model="local:any", instructions="Be brief.")
_DEFAULTS = Settings()


class Takeover(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the turn of one killed worker."""

    beat_seconds: float
    """From its last heartbeat to the kill."""
    seconds: float
    """From the kill to the claim of the next attempt."""


async def main() -> bool:
    """Measure and print; answers whether the bar holds for the slowest."""
    async with bench_database() as database, provider() as base_url, AsyncExitStack() as stack:
        pool = await stack.enter_async_context(await open_pool(database.dsn, size_max=2))
        # What still runs at the end is handed back, for its model would be silent for ever.
        environ = {
            "TURNLEDGER_MODEL_PROVIDERS": f"local={base_url}",
            "TURNLEDGER_SHUTDOWN_GRACE_SECONDS": "0",
        }
        workers = [
            await stack.enter_async_context(working(database.dsn, "--runners", "1", environ=environ))
            for _ in range(_KILLS)
        ]
        await _begin_turns(pool)
        run_ids = [(await _found(pool, _RUN_OF, str(pid)))["id"] for pid in workers]
        await stack.enter_async_context(working(database.dsn, environ=environ))
        takeovers = await asyncio.gather(
            *(_kill(pool, pid, run_id) for pid, run_id in zip(workers, run_ids, strict=True))
        )
    return _report(takeovers)


async def _begin_turns(pool: Pool) -> None:
    store = Store(pool, Hub())
    tenants = await make_tenants(store, 1, definition=_DEFINITION)
    for session in await open_sessions(pool, tenants, count=_KILLS, turn_count=0):
        await store.sessions.append(
            session.tenant.caller,
            session.wire_id,
            text=_TEXT,
            speaker=None,
            if_active=IfActive.REJECT,
            expected=None,
            idempotency=None,
        )


_RUN_OF = "SELECT id FROM runs WHERE runner LIKE '%:' || $1::text AND state = 'running'"
"""By process id."""

_NOW = "SELECT clock_timestamp()"

_TAKEOVER = """
SELECT n.started_at AS claimed_at, r.lease_expires_at
  FROM runs r
  JOIN runs n ON n.organization_id = r.organization_id AND n.turn_id = r.turn_id AND n.attempt = r.attempt + 1
 WHERE r.id = $1
"""


async def _kill(pool: Pool, pid: int, run_id: UUID) -> Takeover:
    """Kill a worker, and wait until another claims its turn."""
    await asyncio.sleep(random.uniform(0, 2 * _DEFAULTS.heartbeat_seconds))
    killed_at = await pool.fetchval(_NOW)
    os.kill(pid, signal.SIGKILL)
    row = await _found(pool, _TAKEOVER, run_id)
    # A lease is counted from its last renewal, by the same clock.
    left_seconds = (row["lease_expires_at"] - killed_at).total_seconds()
    return Takeover(
        beat_seconds=_DEFAULTS.lease_seconds - left_seconds,
        seconds=(row["claimed_at"] - killed_at).total_seconds(),
    )


async def _found(pool: Pool, query: str, argument: object) -> asyncpg.Record:
    """Wait until a query finds its row."""
    async with asyncio.timeout(_SECONDS_MAX):
        while True:
            row = await pool.fetchrow(query, argument)
            if row is not None:
                return row
            await asyncio.sleep(_LOOK_SECONDS)


def _report(takeovers: list[Takeover]) -> bool:
    takeovers.sort(key=lambda takeover: takeover.seconds)
    show(
        f"Seconds from kill -9 of a worker to the next attempt; lease {_DEFAULTS.lease_seconds:g} s, "
        f"heartbeat {_DEFAULTS.heartbeat_seconds:g} s",
        ["", *(str(number) for number in range(1, _KILLS + 1))],
        [
            ("since the last heartbeat", *(takeover.beat_seconds for takeover in takeovers)),
            ("to the next attempt", *(takeover.seconds for takeover in takeovers)),
        ],
    )
    worst = takeovers[-1].seconds
    holds = worst < _BAR_SECONDS
    print(
        f"median {median(takeover.seconds for takeover in takeovers):.1f} s, slowest {worst:.1f} s, "
        f"bar < {_BAR_SECONDS:g} s: {'holds' if holds else 'MISSED'}"
    )
    return holds


if __name__ == "__main__":
    run(main)
