"""Rows of the ledger as the store writes them, without a runner."""

from decimal import Decimal
from typing import Any

import msgspec

from api.session.document import Usage
from api.store.base import utc_now
from api.store.ledger import UsageEntry
from api.store.running import Claim, Intent, Outcome
from tests.factories import World, completing

PRICES = msgspec.json.encode(
    {
        "source": "prices",
        "currency": "USD",
        "input_per_million": "1",
        "cached_per_million": "1",
        "cache_write_per_million": "1",
        "output_per_million": "2",
        "reasoning_per_million": "2",
    }
)


def priced(cost: str | None = "0.01", **fields: Any) -> Outcome:
    """How a call of seven input and three output tokens ended, at this cost."""
    amount = None if cost is None else Decimal(cost)
    return Outcome(
        **{
            "outcome": "completed",
            "model": "echo",
            "tokens": Usage(input_tokens=7, output_tokens=3, cost=amount, unknown_count=int(amount is None)),
            "unit_prices": None if cost is None else PRICES,
            "price_source": None if cost is None else "prices",
            "source": "provider",
            "is_billable": True,
            "billable_reason": "completed",
            "latency_ms": 100,
            "result": None,
            **fields,
        }
    )


async def claimed(world: World) -> Claim:
    """The right to the oldest pending turn."""
    claim = await world.store.running.claim(runner="test", lease_seconds=15)
    assert claim is not None
    return claim


async def call(world: World, claim: Claim, outcome: Outcome | None = None, **fields: Any) -> None:
    """Make and settle one call of a claimed turn."""
    intent = Intent(
        **{
            "id": world.store.running.new_step_id(),
            "purpose": "reply",
            "speaker": "Ada",
            "provider": "scripted",
            "model": "echo",
            "started_at": utc_now(),
            "request": {},
            **fields,
        }
    )
    assert await world.store.running.start_step(claim, intent)
    assert await world.store.running.settle(claim, intent.id, outcome or priced())


async def paid_turn(world: World, session_id: str, cost: str | None = "0.01") -> str:
    """Append a turn that one call answers; tells the turn's id."""
    delta = await world.append(session_id, None)
    claim = await claimed(world)
    await call(world, claim, priced(cost))
    assert await world.store.running.publish(claim, completing(claim, "Hi."))
    return delta.turns[-1].id


async def entries_of(world: World) -> list[UsageEntry]:
    """The whole ledger."""
    entries, head = await world.store.reading.usage_entries(
        world.caller, after=0, session_id=None, limit=1_000
    )
    assert [entry.seq for entry in entries] == list(range(1, head + 1))
    return entries
