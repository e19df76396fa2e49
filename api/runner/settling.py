"""What a model call is settled at: its tokens, its price, whether it is billable, and why."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from api.models.base import ModelError, ModelErrorCode, ModelUsage
from api.models.tokens import estimate_text_tokens
from api.prompt.progress import ModelAnswer
from api.runner import pricing
from api.session import ids
from api.session.document import StepSummary, Usage
from api.store.prices import Price
from api.store.running import Intent, Outcome


class BillableReason(StrEnum):
    """Why a ledger row is billable, or is not."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    """Billable: somebody stopped a call that was going well."""
    FAILED = "failed"
    """Not billable, though the provider may have charged for it."""
    REFUSED = "refused"
    """Not billable: the provider turned the request away and charged nothing."""
    DROPPED = "dropped"
    """Not billable: our process was stopped, or lost its turn, during the call. It is made again."""
    LOST = "lost"
    """Not billable: the process died during the call, and nobody knows what came of it."""


_REFUSALS = frozenset(
    {
        ModelErrorCode.RATE_LIMITED,
        ModelErrorCode.QUOTA_EXHAUSTED,
        ModelErrorCode.PROVIDER_UNAVAILABLE,
        ModelErrorCode.BAD_REQUEST,
        ModelErrorCode.UNAUTHORIZED,
        ModelErrorCode.CONTEXT_TOO_LONG,
        ModelErrorCode.UNKNOWN_MODEL,
    }
)
"""With these a provider does no work, as long as it has said nothing."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A model call that has ended, as far as we could see it."""

    provider: str
    model: str
    """As the provider named it, else as it was asked for."""
    asked_model: str
    input_tokens_estimated: int
    answer: ModelAnswer
    """What it said, thought and asked for before it ended."""
    usage: ModelUsage | None
    """As the provider counted; None when it did not say."""
    ended_at: datetime
    latency_ms: int


def completed(call: Call, prices: Sequence[Price]) -> Outcome:
    """A call that came to its end. Its answer is kept with the step: the turn goes on from it."""
    return _priced(
        call,
        prices,
        outcome="completed",
        reason=BillableReason.COMPLETED,
        result=msgspec.to_builtins(call.answer),
    )


def cancelled(call: Call, prices: Sequence[Price]) -> Outcome:
    """A call that was broken off because a caller wanted its turn no more."""
    return _priced(call, prices, outcome="cancelled", reason=BillableReason.CANCELLED, result=None)


def dropped(call: Call, prices: Sequence[Price]) -> Outcome:
    """A call that we broke off for reasons of our own, while its turn is still wanted."""
    return _priced(call, prices, outcome="failed", reason=BillableReason.DROPPED, result=None)


def failed(call: Call, prices: Sequence[Price], *, error: ModelError) -> Outcome:
    """A call that the provider refused or broke off."""
    if error.code in _REFUSALS and call.usage is None and not call.answer.text:
        return Outcome(
            outcome="failed",
            model=call.model,
            tokens=Usage(),
            unit_prices=None,
            price_source=None,
            source="provider",
            is_billable=False,
            billable_reason=BillableReason.REFUSED,
            latency_ms=call.latency_ms,
            result=None,
        )
    return _priced(call, prices, outcome="failed", reason=BillableReason.FAILED, result=None)


def lost(*, model: str, latency_ms: int) -> Outcome:
    """A call that was started by a process that is gone."""
    return Outcome(
        outcome="failed",
        model=model,
        tokens=Usage(cost=None, unknown_count=1),
        unit_prices=None,
        price_source=None,
        source="unknown",
        is_billable=False,
        billable_reason=BillableReason.LOST,
        latency_ms=latency_ms,
        result=None,
    )


def summary(intent: Intent, outcome: Outcome) -> StepSummary:
    """The call as its turn remembers it."""
    return StepSummary(
        id=ids.to_wire(ids.Kind.STEP, intent.id),
        kind="model",
        outcome=outcome.outcome,
        model=f"{intent.provider}:{intent.model}",
        started_at=intent.started_at,
        latency_ms=outcome.latency_ms,
        usage=outcome.tokens,
    )


def _priced(
    call: Call,
    prices: Sequence[Price],
    *,
    outcome: str,
    reason: BillableReason,
    result: dict[str, object] | None,
) -> Outcome:
    counted = call.usage or ModelUsage(
        input_tokens=call.input_tokens_estimated, output_tokens=_estimated_output(call.answer)
    )
    unit_prices = _unit_prices(call, prices, counted)
    amount = None if unit_prices is None else pricing.cost(counted, unit_prices)
    return Outcome(
        outcome=outcome,
        model=call.model,
        tokens=Usage(
            input_tokens=counted.input_tokens,
            cached_tokens=counted.cached_tokens,
            cache_write_tokens=counted.cache_write_tokens,
            output_tokens=counted.output_tokens,
            reasoning_tokens=counted.reasoning_tokens,
            cost=amount,
            unknown_count=int(amount is None),
        ),
        unit_prices=None if unit_prices is None else msgspec.json.encode(unit_prices),
        price_source=None if unit_prices is None else unit_prices.source,
        source="estimated" if call.usage is None else "provider",
        is_billable=reason in (BillableReason.COMPLETED, BillableReason.CANCELLED),
        billable_reason=reason,
        latency_ms=call.latency_ms,
        result=result,
    )


def _estimated_output(answer: ModelAnswer) -> int:
    said = (answer.text, answer.reasoning, *(call.name + call.arguments for call in answer.tool_calls))
    return sum(estimate_text_tokens(text) for text in said)


def _unit_prices(call: Call, prices: Sequence[Price], counted: ModelUsage) -> pricing.UnitPrices | None:
    """By the name that the provider gave, which may be a dated edition, else by the one asked for."""
    for model in dict.fromkeys((call.model, call.asked_model)):
        found = pricing.lookup(call.provider, model, rows=prices, at=call.ended_at, usage=counted)
        if found is not None:
            return found
    return None
