"""What a model call costs: which unit prices apply, and the exact sum.

Our own price rows come first, then the offline data of genai-prices. A price that nobody knows is None and
never 0. Amounts are `Decimal` from end to end.
"""

import fnmatch
import functools
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal, localcontext
from enum import StrEnum
from importlib.metadata import version
from typing import TYPE_CHECKING

import msgspec

from api.models.base import ModelUsage
from api.store.prices import Price

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

_DIGITS_MAX = 60
"""More than any sum of token counts times prices has, so that nothing is ever rounded."""

_METERS_BY_PRICE_KEY = {
    "input_mtok": "input_per_million",
    "cache_read_mtok": "cached_per_million",
    "cache_write_mtok": "cache_write_per_million",
    "output_mtok": "output_per_million",
    "output_reasoning_mtok": "reasoning_per_million",
}
"""What genai-prices calls the meters that we read; the others count sounds, pictures and searches."""


class PriceSource(StrEnum):
    """Where unit prices come from."""

    PRICES = "prices"
    """Our own table."""
    GENAI_PRICES = "genai-prices"


class UnitPrices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The prices that one call is charged by; a ledger row keeps its own copy."""

    source: PriceSource
    source_version: str | None = None
    """The edition of the price data; None for our own table, whose rows say `valid_from`."""
    valid_from: datetime | None = None
    """Since when our row is in force; None for prices that are not from our table."""
    currency: str
    input_per_million: Decimal
    cached_per_million: Decimal
    cache_write_per_million: Decimal
    output_per_million: Decimal
    reasoning_per_million: Decimal
    per_call: Decimal = Decimal(0)
    above_input_tokens: int | None = None
    """The tier of our row that the call reached; None for the row's own amounts, and for other sources."""


def cost(usage: ModelUsage, prices: UnitPrices) -> Decimal:
    """The exact cost of one call; nothing is rounded.

    Each token is charged once: cached and written tokens by their own price and not as input, reasoning by
    its own and not as output.
    """
    plain_input = max(0, usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens)
    plain_output = max(0, usage.output_tokens - usage.reasoning_tokens)
    with localcontext(prec=_DIGITS_MAX):
        millionths = (
            plain_input * prices.input_per_million
            + usage.cached_tokens * prices.cached_per_million
            + usage.cache_write_tokens * prices.cache_write_per_million
            + plain_output * prices.output_per_million
            + usage.reasoning_tokens * prices.reasoning_per_million
        )
        return millionths / 1_000_000 + prices.per_call


def lookup(
    provider: str, model: str, *, rows: Sequence[Price], at: datetime, usage: ModelUsage
) -> UnitPrices | None:
    """The unit prices for a call at an instant; None when nobody knows a price.

    `rows` may hold rows of other providers and models. `usage` chooses the tier, where a provider charges
    long prompts by another price.
    """
    row = _newest_match(provider, model, rows, at)
    if row is not None:
        return _from_row(row, usage)
    info = _known_model(provider, model)
    return None if info is None else _from_genai_prices(info.get_prices(at), usage)


def context_window_tokens(provider: str, model: str) -> int | None:
    """How many tokens the model takes in one call, as far as genai-prices knows; None when it does not."""
    info = _known_model(provider, model)
    return None if info is None else info.context_window


def _newest_match(provider: str, model: str, rows: Sequence[Price], at: datetime) -> Price | None:
    matching = [
        row
        for row in rows
        if row.provider == provider and row.valid_from <= at and _matches(row.model_pattern, model)
    ]
    return max(matching, key=_precedence, default=None)


def _precedence(row: Price) -> tuple[bool, int, datetime]:
    """A whole name before a pattern, a longer pattern before a shorter one, then the newest."""
    pattern = row.model_pattern
    return "*" not in pattern, len(pattern.replace("*", "")), row.valid_from


def _matches(pattern: str, model: str) -> bool:
    # fnmatch gives more characters a meaning; only `*` has one here.
    return fnmatch.fnmatchcase(model, pattern.replace("[", "[[]").replace("?", "[?]"))


def _from_row(row: Price, usage: ModelUsage) -> UnitPrices:
    # As with the public lists: the tier that the whole input reaches is charged for every token.
    reached = [tier for tier in row.tiers if usage.input_tokens > tier.above_input_tokens]
    amounts = reached[-1] if reached else row

    def or_else(price: Decimal | None, default: Decimal) -> Decimal:
        return default if price is None else price

    return UnitPrices(
        source=PriceSource.PRICES,
        valid_from=row.valid_from,
        currency="USD",
        input_per_million=amounts.input_per_million,
        cached_per_million=or_else(amounts.cached_per_million, amounts.input_per_million),
        cache_write_per_million=or_else(amounts.cache_write_per_million, amounts.input_per_million),
        output_per_million=amounts.output_per_million,
        reasoning_per_million=or_else(amounts.reasoning_per_million, amounts.output_per_million),
        per_call=row.per_call,
        above_input_tokens=reached[-1].above_input_tokens if reached else None,
    )


@functools.lru_cache(maxsize=1_024)
def _known_model(provider: str, model: str) -> "ModelInfo | None":
    # The data takes a fifth of a second to load, which no start should pay that calls no priced model.
    from genai_prices import data_snapshot

    snapshot = data_snapshot.get_snapshot()
    # The provider by its very name: genai-prices would guess `openai` for an endpoint `my-openai-proxy`.
    known = next((candidate for candidate in snapshot.providers if candidate.id == provider), None)
    if known is None:
        return None
    try:
        return snapshot.find_provider_model(model, known, None, None)[1]
    except LookupError:
        return None


def _from_genai_prices(price: "ModelPrice", usage: ModelUsage) -> UnitPrices | None:
    """None where the model is not priced by input and output tokens, or has no price for one of them."""
    from genai_prices.types import TieredPrices

    def of(key: str) -> Decimal | None:
        value: Decimal | TieredPrices | None = getattr(price, key)
        if not isinstance(value, TieredPrices):
            return value
        # As genai-prices reckons: the tier that the whole input reaches is charged for every token.
        reached = [tier.price for tier in value.tiers if usage.input_tokens > tier.start]
        return reached[-1] if reached else value.base

    by_meter = {meter: of(key) for key, meter in _METERS_BY_PRICE_KEY.items()}
    input_price, output_price = by_meter["input_per_million"], by_meter["output_per_million"]
    if input_price is None or output_price is None:
        return None
    calls = of("requests_kcount")
    cached, written = by_meter["cached_per_million"], by_meter["cache_write_per_million"]
    reasoning = by_meter["reasoning_per_million"]
    return UnitPrices(
        source=PriceSource.GENAI_PRICES,
        source_version=version("genai-prices"),
        currency="USD",
        input_per_million=input_price,
        cached_per_million=input_price if cached is None else cached,
        cache_write_per_million=input_price if written is None else written,
        output_per_million=output_price,
        reasoning_per_million=output_price if reasoning is None else reasoning,
        per_call=Decimal(0) if calls is None else calls / 1_000,
    )
