"""Unit prices and exact costs."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from importlib.metadata import version

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.models.base import ModelUsage
from api.runner.pricing import PriceSource, UnitPrices, context_window_tokens, cost, lookup
from api.store.prices import PriceTier
from api.store.running import Price

NOW = datetime(2026, 11, 20, tzinfo=UTC)
USAGE = ModelUsage(input_tokens=1_000, output_tokens=100)


def make_row(**fields: object) -> Price:
    defaults = {
        "provider": "scripted",
        "model_pattern": "*",
        "valid_from": NOW - timedelta(days=30),
        "input_per_million": Decimal(1),
        "output_per_million": Decimal(2),
    }
    return Price(**{**defaults, **fields})  # type: ignore[arg-type]


def make_prices(**fields: object) -> UnitPrices:
    defaults = {
        "source": PriceSource.PRICES,
        "currency": "USD",
        "input_per_million": Decimal("3"),
        "cached_per_million": Decimal("0.3"),
        "cache_write_per_million": Decimal("3.75"),
        "output_per_million": Decimal("15"),
        "reasoning_per_million": Decimal("15"),
    }
    return UnitPrices(**{**defaults, **fields})  # type: ignore[arg-type]


def test_every_token_is_charged_once() -> None:
    usage = ModelUsage(
        input_tokens=1_000, cached_tokens=600, cache_write_tokens=100, output_tokens=50, reasoning_tokens=20
    )
    prices = make_prices(reasoning_per_million=Decimal(20), per_call=Decimal("0.01"))

    charged = cost(usage, prices)

    # 300 at 3, 600 at 0.3, 100 at 3.75, 30 at 15, 20 at 20, all per million, and the call.
    assert charged == Decimal("0.000900") + Decimal("0.000180") + Decimal("0.000375") + Decimal(
        "0.000450"
    ) + Decimal("0.000400") + Decimal("0.01")


def test_a_call_without_tokens_costs_its_fee_alone() -> None:
    usage = ModelUsage(input_tokens=0, output_tokens=0)

    assert cost(usage, make_prices()) == 0
    assert cost(usage, make_prices(per_call=Decimal("0.005"))) == Decimal("0.005")


def test_nothing_is_rounded_however_long_the_figures_are() -> None:
    usage = ModelUsage(input_tokens=987_654_321_987, output_tokens=0)
    price = Decimal("0.123456789012345678901234567")

    charged = cost(usage, make_prices(input_per_million=price))

    assert Fraction(charged) == Fraction(price) * 987_654_321_987 / 1_000_000


@settings(max_examples=50)
@given(
    counts=st.lists(st.integers(0, 10**7), min_size=2, max_size=2),
    more=st.lists(st.integers(0, 10**7), min_size=2, max_size=2),
)
def test_two_calls_cost_what_their_tokens_cost_together(counts: list[int], more: list[int]) -> None:
    prices = make_prices()
    first = ModelUsage(input_tokens=counts[0], output_tokens=counts[1])
    second = ModelUsage(input_tokens=more[0], output_tokens=more[1])
    both = ModelUsage(input_tokens=counts[0] + more[0], output_tokens=counts[1] + more[1])

    assert cost(first, prices) + cost(second, prices) == cost(both, prices)


def test_our_own_price_comes_first() -> None:
    row = make_row(provider="openai", model_pattern="gpt-5-mini", input_per_million=Decimal(9))

    prices = lookup("openai", "gpt-5-mini", rows=[row], at=NOW, usage=USAGE)

    assert prices is not None
    assert prices.source is PriceSource.PRICES
    assert prices.input_per_million == 9
    assert prices.valid_from == row.valid_from


def test_meters_without_a_price_of_their_own_cost_what_input_and_output_cost() -> None:
    prices = lookup("scripted", "demo", rows=[make_row()], at=NOW, usage=USAGE)

    assert prices is not None
    assert prices.cached_per_million == prices.cache_write_per_million == prices.input_per_million == 1
    assert prices.reasoning_per_million == prices.output_per_million == 2


def test_a_price_of_nothing_is_a_price() -> None:
    row = make_row(cached_per_million=Decimal(0), reasoning_per_million=Decimal(0))

    prices = lookup("scripted", "demo", rows=[row], at=NOW, usage=USAGE)

    assert prices is not None
    assert prices.cached_per_million == 0
    assert prices.reasoning_per_million == 0


@pytest.mark.parametrize(
    ("pattern", "model", "matches"),
    [
        ("*", "anything", True),
        ("gpt-*", "gpt-5", True),
        ("gpt-*", "o3", False),
        ("*-mini*", "gpt-5-mini-2025", True),
        ("gpt-5", "gpt-5-mini", False),
        ("gpt.5", "gpt-5", False),
        ("m[1]?", "m[1]?", True),
        ("m[1]?", "m1x", False),
        ("*a" * 30 + "b", "a" * 190, False),
    ],
)
def test_a_pattern_knows_the_star_alone(pattern: str, model: str, matches: bool) -> None:
    prices = lookup("scripted", model, rows=[make_row(model_pattern=pattern)], at=NOW, usage=USAGE)

    assert (prices is not None) is matches


def test_the_most_specific_row_counts_and_then_the_newest() -> None:
    day = timedelta(days=1)
    rows = [
        make_row(model_pattern="demo", valid_from=NOW - 3 * day, input_per_million=Decimal(3)),
        make_row(model_pattern="demo", valid_from=NOW - 2 * day, input_per_million=Decimal(4)),
        make_row(model_pattern="demo", valid_from=NOW + day, input_per_million=Decimal(5)),
        make_row(model_pattern="d*", valid_from=NOW - day, input_per_million=Decimal(6)),
        make_row(model_pattern="*", valid_from=NOW, input_per_million=Decimal(7)),
        make_row(provider="other", model_pattern="demo", input_per_million=Decimal(8)),
    ]

    def input_price(model: str, at: datetime) -> Decimal | None:
        prices = lookup("scripted", model, rows=rows, at=at, usage=USAGE)
        return None if prices is None else prices.input_per_million

    assert input_price("demo", NOW) == 4
    assert input_price("demo", NOW - 3 * day) == 3
    assert input_price("demo", NOW + day) == 5
    assert input_price("dance", NOW) == 6
    assert input_price("echo", NOW) == 7
    assert input_price("demo", NOW - 4 * day) is None


def test_genai_prices_is_asked_where_we_have_no_row() -> None:
    prices = lookup("openai", "gpt-5-mini-2025-08-07", rows=[make_row()], at=NOW, usage=USAGE)

    assert prices is not None
    assert prices.source is PriceSource.GENAI_PRICES
    assert prices.source_version == version("genai-prices")
    assert (prices.input_per_million, prices.output_per_million) == (Decimal("0.25"), Decimal(2))
    assert prices.cached_per_million == Decimal("0.025")
    assert prices.currency == "USD"


def test_a_long_prompt_is_charged_by_its_tier() -> None:
    short = lookup("anthropic", "claude-sonnet-4-5", rows=[], at=NOW, usage=USAGE)
    long = lookup(
        "anthropic",
        "claude-sonnet-4-5",
        rows=[],
        at=NOW,
        usage=ModelUsage(input_tokens=200_001, output_tokens=1),
    )

    assert short is not None
    assert long is not None
    assert long.input_per_million > short.input_per_million
    assert long.output_per_million > short.output_per_million


@pytest.mark.parametrize(
    ("input_tokens", "tier"), [(199, None), (200, None), (201, 200), (1_000, 200), (1_001, 1_000)]
)
def test_a_tier_of_our_own_begins_behind_its_count_and_the_highest_holds(
    input_tokens: int, tier: int | None
) -> None:
    tiers = tuple(
        PriceTier(above_input_tokens=count, input_per_million=Decimal(count), output_per_million=Decimal(1))
        for count in (200, 1_000)
    )

    usage = ModelUsage(input_tokens=input_tokens, output_tokens=1)
    found = lookup("scripted", "echo", rows=[make_row(tiers=tiers)], at=NOW, usage=usage)

    assert found is not None
    assert (found.above_input_tokens, found.input_per_million) == (tier, Decimal(tier or 1))


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-5-mini"),
        ("anthropic", "claude-sonnet-4-5"),
        ("openai", "o3-mini"),
        ("google", "gemini-2.5-pro"),
    ],
)
@pytest.mark.parametrize("input_tokens", [5_000, 300_000])
def test_our_sum_is_that_of_genai_prices(provider: str, model: str, input_tokens: int) -> None:
    from genai_prices import Usage, calc_price

    usage = ModelUsage(input_tokens=input_tokens, cached_tokens=1_234, output_tokens=777, reasoning_tokens=70)
    theirs = calc_price(
        Usage(input_tokens=input_tokens, cache_read_tokens=1_234, output_tokens=777),
        model,
        provider_id=provider,
        genai_request_timestamp=NOW,
    )

    prices = lookup(provider, model, rows=[], at=NOW, usage=usage)

    assert prices is not None
    assert cost(usage, prices) == theirs.total_price


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("scripted", "demo"),
        ("openai", "no-such-model"),
        ("my-openai-proxy", "gpt-5-mini"),
        ("openai", "whisper-1"),
        ("openrouter", "openai/gpt-oss-20b:free"),
    ],
)
def test_a_price_that_nobody_knows_is_none_and_not_zero(provider: str, model: str) -> None:
    assert lookup(provider, model, rows=[], at=NOW, usage=USAGE) is None


def test_the_window_of_a_model_is_told_where_it_is_known() -> None:
    assert context_window_tokens("openai", "gpt-5-mini") == 400_000
    assert context_window_tokens("scripted", "demo") is None
