"""How much later the first word comes than from the provider itself.

    python -m bench.first_token

`turnledger serve` with its runners inside, warm, one client: from sending `POST messages` with
`Accept: text/event-stream` to the first `turn.delta`. Interleaved with it, a direct call by the same SDK to
the same local provider, from the call to the first text.
"""

import time
from collections.abc import Sequence
from statistics import median

import msgspec
import openai

from api.events import Hub
from api.store import Store
from bench.database import bench_database
from bench.event_reader import Connection
from bench.report import ROUNDS, run, show
from bench.service import Service, provider, running
from bench.tenants import Tenant, make_tenants
from db.pool import open_pool

_CALLS = 60
"""In one round, on each side."""
_WARM_UP_CALLS = 20
_BAR_MS = 15.0
_TEXT = "Say it. [[words=3]]"
_AGENT = {"name": "Local", "definition": {"model": "local:any", "instructions": "Be brief."}}


async def main() -> bool:
    """Measure and print; answers whether the bar holds."""
    async with bench_database() as database, provider() as base_url:
        async with await open_pool(database.dsn, size_max=2) as pool:
            [tenant] = await make_tenants(Store(pool, Hub()), 1)
        environ = {"TURNLEDGER_MODEL_PROVIDERS": f"local={base_url}"}
        async with running(database.dsn, environ=environ) as service:
            sdk = openai.AsyncOpenAI(api_key="none", base_url=base_url, max_retries=0)
            await _round(service, tenant, sdk, calls=_WARM_UP_CALLS)
            rounds = [await _round(service, tenant, sdk, calls=_CALLS) for _ in range(ROUNDS)]
            await sdk.close()
    return _report(rounds)


async def _round(
    service: Service, tenant: Tenant, sdk: openai.AsyncOpenAI, *, calls: int
) -> tuple[float, float]:
    """One round: the median of ours and of the direct call, in milliseconds."""
    ours, direct = [], []
    async with Connection(service.host, service.port, tenant.secret) as connection:
        agent_id = (await _call(connection, "/v1/agents", _AGENT))["agent_id"]
        for _ in range(calls):
            session = await _call(connection, "/v1/sessions", {"agent_id": agent_id})
            ours.append(await _through_us(connection, session["id"]))
            direct.append(await _directly(sdk))
    return median(ours) * 1000, median(direct) * 1000


async def _call(connection: Connection, path: str, value: object) -> dict[str, str]:
    connection.send("POST", path, msgspec.json.encode(value), Connection="keep-alive")
    return msgspec.json.decode(await connection.body(), type=dict)


async def _through_us(connection: Connection, session_id: str) -> float:
    body = msgspec.json.encode({"text": _TEXT})
    began = time.perf_counter()
    connection.send(
        "POST", f"/v1/sessions/{session_id}/messages", body, Accept="text/event-stream", If_Match='"1"'
    )
    assert await connection.status() == 200
    seconds = None
    async for chunk in connection.chunks():
        if seconds is None and b"event: turn.delta" in chunk:
            seconds = time.perf_counter() - began
    assert seconds is not None, "nothing was said"
    return seconds


async def _directly(sdk: openai.AsyncOpenAI) -> float:
    began = time.perf_counter()
    stream = await sdk.chat.completions.create(
        model="any",
        messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": _TEXT}],
        stream=True,
    )
    seconds = None
    async for chunk in stream:
        if seconds is None and chunk.choices and chunk.choices[0].delta.content:
            seconds = time.perf_counter() - began
    assert seconds is not None, "nothing was said"
    return seconds


def _report(rounds: Sequence[tuple[float, float]]) -> bool:
    added = [ours - direct for ours, direct in rounds]
    show(
        f"Milliseconds to the first word, medians of {_CALLS} calls, by round",
        ["", *(str(number) for number in range(1, len(rounds) + 1))],
        [
            ("through the service", *(ours for ours, _ in rounds)),
            ("directly", *(direct for _, direct in rounds)),
            ("added", *added),
        ],
    )
    holds = median(added) <= _BAR_MS
    print(f"added, median: {median(added):.1f} ms, bar <= {_BAR_MS:g} ms: {'holds' if holds else 'MISSED'}")
    return holds


if __name__ == "__main__":
    run(main)
