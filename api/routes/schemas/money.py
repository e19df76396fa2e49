"""Amounts on the wire: exact decimals as plain digits, never a float and never with an exponent."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, overload

import msgspec
from msgspec import Meta

from api.session.document import StepSummary, Usage

Money = Annotated[str, Meta(pattern=r"^-?[0-9]+(\.[0-9]+)?$", extra_json_schema={"format": "decimal"})]


Amount = Annotated[
    str,
    Meta(pattern=r"^[0-9]{1,12}(\.[0-9]{1,18})?$", max_length=31, extra_json_schema={"format": "decimal"}),
]
"""An amount that a caller gives: not negative, plain digits."""


@overload
def money(amount: Decimal) -> str: ...
@overload
def money(amount: Decimal | None) -> str | None: ...
def money(amount: Decimal | None) -> str | None:
    """Write an exact amount; None, for an unknown one, stays None."""
    return None if amount is None else format(amount, "f")


class UsageView(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens and cost of one call, or summed over several."""

    input_tokens: int
    """Includes cached and cache-write tokens."""
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    """Includes reasoning tokens."""
    reasoning_tokens: int
    cost: Money | None
    """Sum of the known costs; null when nothing is known of any, never 0 for unknown."""
    currency: str
    unknown_count: int
    """Calls whose cost is not known and which therefore add nothing to `cost`."""


class StepView(msgspec.Struct, frozen=True, kw_only=True):
    """One model or tool call of a turn."""

    id: str
    kind: str
    """`model` or `tool`."""
    outcome: str
    """`completed`, `failed` or `cancelled`."""
    model: str | None
    """`provider:model`; null for a tool call."""
    tool: str | None
    """The tool's name; null for a model call."""
    effect: str | None
    """Of the tool: `read`, `idempotent` or `once`."""
    started_at: datetime
    latency_ms: int | None
    usage: UsageView | None
    """Null where the call has no ledger row."""


def usage_view(usage: Usage) -> UsageView:
    """Show what calls have used."""
    return UsageView(
        input_tokens=usage.input_tokens,
        cached_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        cost=money(usage.cost),
        currency=usage.currency,
        unknown_count=usage.unknown_count,
    )


def step_view(step: StepSummary) -> StepView:
    """Show a step."""
    return StepView(
        id=step.id,
        kind=step.kind,
        outcome=step.outcome,
        model=step.model,
        tool=step.tool,
        effect=step.effect,
        started_at=step.started_at,
        latency_ms=step.latency_ms,
        usage=None if step.usage is None else usage_view(step.usage),
    )
