"""Sums of usage, in which an unknown cost is counted and never taken for 0."""

from collections.abc import Iterable
from decimal import Decimal

from api.session.document import Usage


def total_usage(usages: Iterable[Usage]) -> Usage | None:
    """The sum of the usage of several calls; None of none. Unknown costs are counted, not added."""
    total: Usage | None = None
    for usage in usages:
        if total is None:
            total = usage
            continue
        known = [cost for cost in (total.cost, usage.cost) if cost is not None]
        total = Usage(
            input_tokens=total.input_tokens + usage.input_tokens,
            cached_tokens=total.cached_tokens + usage.cached_tokens,
            cache_write_tokens=total.cache_write_tokens + usage.cache_write_tokens,
            output_tokens=total.output_tokens + usage.output_tokens,
            reasoning_tokens=total.reasoning_tokens + usage.reasoning_tokens,
            cost=sum(known, Decimal(0)) if known else None,
            currency=total.currency,
            unknown_count=total.unknown_count + usage.unknown_count,
        )
    return total
