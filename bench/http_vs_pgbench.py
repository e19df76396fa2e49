"""Messages per second through HTTP over pgbench running the same SQL on the same server.

    python -m bench.http_vs_pgbench

`turnledger serve --runners 0` answers `POST /v1/sessions/{id}/messages` with `Prefer: respond-async` on
sixteen kept-alive connections of a client in a third process; every message goes to a session that has none
yet. Then sixteen clients of pgbench run the statements that the store was seen to issue for that.
"""

import asyncio
import itertools
import sys
from collections.abc import Sequence
from functools import partial

import msgspec

from api.events import Hub
from api.store import Store
from bench import pgbench, turns
from bench.database import Database, bench_database
from bench.http_client import Account, Messages, Order
from bench.report import ROUNDS, Ratio, run, show, show_ratios
from bench.service import running
from bench.tenants import USER_TEXT, Opened, Tenant, make_tenants, open_sessions, settle_down
from db.pool import Pool, open_pool

CONNECTIONS = 16
_SECONDS = 3
_HTTP_SESSIONS = 600
"""Sessions of one connection in one round, more than it can use up."""
_PGBENCH_SESSIONS = 4_000
_AT_LEAST = 0.12

_series = itertools.count(1)


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One round: messages per second on both sides, and how busy the client was."""

    http: float
    pgbench: float
    client_cpu_share: float


async def main() -> bool:
    """Measure and print; answers whether the bar holds."""
    try:
        pgbench.find_pgbench()
    except pgbench.PgbenchMissing as missing:
        print(missing, file=sys.stderr)
        sys.exit(2)
    async with bench_database() as database, await open_pool(database.dsn, size_max=2) as pool:
        tenants = await make_tenants(Store(pool, Hub()))
        await pgbench.create_tables(pool)
        script = await _script(pool, tenants)
        async with running(database.dsn, "--runners", "0") as service:
            await _round(database, pool, tenants, script, host=service.host, port=service.port)
            rounds = [
                await _round(database, pool, tenants, script, host=service.host, port=service.port)
                for _ in range(ROUNDS)
            ]
    return _report(rounds)


async def _script(pool: Pool, tenants: Sequence[Tenant]) -> pgbench.Script:
    sessions = await _fresh(pool, tenants[:1], count=3)

    async def message(store: Store, *, to: Opened) -> None:
        await turns.append(store, to, expected=1)

    # The first one also asks for the types of this connection, and for the budgets of its organization.
    _, first, second = await pgbench.recorded(pool, [partial(message, to=session) for session in sessions])
    return pgbench.script_of(
        first,
        second,
        known={
            sessions[1].id: pgbench.SESSION_ID,
            tenants[0].caller.organization_id: ":organization_id",
        },
    )


async def _fresh(pool: Pool, tenants: Sequence[Tenant], *, count: int) -> list[Opened]:
    """Sessions without turns, of one tenant, with numbered ids from 0."""
    series = next(_series)
    session_ids = [pgbench.numbered_id(series, number) for number in range(count)]
    return await open_sessions(pool, tenants, count=count, turn_count=0, session_ids=session_ids)


async def _round(
    database: Database,
    pool: Pool,
    tenants: Sequence[Tenant],
    script: pgbench.Script,
    *,
    host: str,
    port: int,
) -> Round:
    ours = [await _fresh(pool, [tenant], count=_HTTP_SESSIONS) for tenant in tenants[:CONNECTIONS]]
    theirs = [await _fresh(pool, [tenant], count=_PGBENCH_SESSIONS) for tenant in tenants[:CONNECTIONS]]
    await settle_down(pool)
    account = await _through_http(ours, host=host, port=port)
    if account.statuses.keys() != {"202"} or account.is_out_of_sessions:
        raise RuntimeError(f"not what is to be measured: {account}")
    clients = [
        pgbench.Client(organization_id=sessions[0].tenant.caller.organization_id, session_id=sessions[0].id)
        for sessions in theirs
    ]
    await settle_down(pool)
    replayed = await pgbench.run_script(pool, database.dsn, script, clients, seconds=_SECONDS)
    await _require_commits(pool, theirs, count=replayed.count)
    return Round(
        http=account.statuses["202"] / account.seconds,
        pgbench=replayed.per_second,
        client_cpu_share=account.cpu_seconds / account.seconds,
    )


async def _through_http(ours: Sequence[Sequence[Opened]], *, host: str, port: int) -> Account:
    order = Order(
        host=host,
        port=port,
        seconds=_SECONDS,
        text=USER_TEXT,
        connections=[
            Messages(secret=sessions[0].tenant.secret, session_ids=[session.wire_id for session in sessions])
            for sessions in ours
        ],
    )
    client = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.http_client"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await client.communicate(msgspec.json.encode(order))
    return msgspec.json.decode(told, type=Account)


_COUNT_APPENDED = """
SELECT count(*)
  FROM sessions
 WHERE organization_id = ANY($1::uuid[]) AND id = ANY($2::uuid[]) AND revision = 2
"""


async def _require_commits(pool: Pool, theirs: Sequence[Sequence[Opened]], *, count: int) -> None:
    """Insist that pgbench's swaps took effect: one that finds no session is fast and does nothing."""
    organizations = [sessions[0].tenant.caller.organization_id for sessions in theirs]
    session_ids = [session.id for sessions in theirs for session in sessions]
    async with pool.acquire() as conn:
        commits = await conn.fetchval(_COUNT_APPENDED, organizations, session_ids)
    if commits != count:
        raise RuntimeError(f"pgbench says {count} commits, the sessions say {commits}")


def _report(rounds: Sequence[Round]) -> bool:
    show(
        f"Messages per second at {CONNECTIONS} connections, by round",
        ["", *(str(number) for number in range(1, ROUNDS + 1))],
        [
            ("HTTP", *(one.http for one in rounds)),
            ("pgbench", *(one.pgbench for one in rounds)),
            ("processor time of the client over the time", *(one.client_cpu_share for one in rounds)),
        ],
    )
    return show_ratios(
        "HTTP over pgbench",
        [
            Ratio(
                name=f"{len(rounds)} rounds, 50 organizations",
                rounds=[one.http / one.pgbench for one in rounds],
                at_least=_AT_LEAST,
            )
        ],
    )


if __name__ == "__main__":
    run(main)
