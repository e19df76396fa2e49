"""Sums of usage."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from api.session.document import Usage
from api.session.usage import total_usage

usages = st.builds(
    Usage,
    input_tokens=st.integers(0, 10**6),
    cached_tokens=st.integers(0, 10**6),
    cache_write_tokens=st.integers(0, 10**6),
    output_tokens=st.integers(0, 10**6),
    reasoning_tokens=st.integers(0, 10**6),
    cost=st.none() | st.decimals(0, 100, places=10),
    unknown_count=st.integers(0, 3),
)


def test_the_sum_of_nothing_is_none() -> None:
    assert total_usage([]) is None


@given(st.lists(usages, min_size=1, max_size=6))
def test_every_count_is_the_sum_of_its_parts(parts: list[Usage]) -> None:
    total = total_usage(parts)

    assert total is not None
    assert total.input_tokens == sum(part.input_tokens for part in parts)
    assert total.cached_tokens == sum(part.cached_tokens for part in parts)
    assert total.cache_write_tokens == sum(part.cache_write_tokens for part in parts)
    assert total.output_tokens == sum(part.output_tokens for part in parts)
    assert total.reasoning_tokens == sum(part.reasoning_tokens for part in parts)
    assert total.unknown_count == sum(part.unknown_count for part in parts)


@given(st.lists(usages, min_size=1, max_size=6))
def test_unknown_costs_add_nothing_and_are_never_taken_for_0(parts: list[Usage]) -> None:
    known = [part.cost for part in parts if part.cost is not None]

    total = total_usage(parts)

    assert total is not None
    assert total.cost == (sum(known, Decimal(0)) if known else None)
