"""What callers say and get of prices."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from api.routes.schemas.money import Amount, Money, money
from api.session.document import Actor
from api.store.prices import ListedPrice, Price, PriceTier

_TIERS_MAX = 10

Provider = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
ModelPattern = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,200}$")]


class PutTier(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Amounts that apply to every token of a call with more input tokens than this."""

    above_input_tokens: Annotated[int, Meta(ge=1, le=10**9)]
    input_per_million: Amount
    cached_per_million: Amount | None = None
    """Null: cached tokens cost what other input costs in this tier."""
    cache_write_per_million: Amount | None = None
    output_per_million: Amount
    reasoning_per_million: Amount | None = None
    """Null: reasoning costs what other output costs in this tier."""


class PutPrice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A price that follows the newest of its pattern. Amounts are in USD per million tokens."""

    provider: Provider
    """As in `provider:model`."""
    model_pattern: ModelPattern
    """The provider's name of the model; `*` stands for any characters. A whole name counts before a pattern,
    and a longer pattern before a shorter one."""
    valid_from: Annotated[datetime, Meta(tz=True)] | None = None
    """Since when it is in force: later than the newest of its pattern, and not in the past. Null for now."""
    input_per_million: Amount
    """Of input tokens that are neither cached nor written to the cache."""
    cached_per_million: Amount | None = None
    """Null: cached tokens cost what other input costs."""
    cache_write_per_million: Amount | None = None
    """Null: written tokens cost what other input costs."""
    output_per_million: Amount
    """Of output tokens beside reasoning."""
    reasoning_per_million: Amount | None = None
    """Null: reasoning costs what other output costs."""
    per_call: Amount | None = None
    """On top of the tokens, for each call; null for nothing."""
    tiers: Annotated[tuple[PutTier, ...], Meta(min_length=1, max_length=_TIERS_MAX)] | None = None
    """Other amounts for calls with much input; the highest tier that a call reaches is for all its tokens."""


class TierView(msgspec.Struct, frozen=True, kw_only=True):
    """Amounts that apply to every token of a call with more input tokens than this."""

    above_input_tokens: int
    input_per_million: Money
    cached_per_million: Money | None
    cache_write_per_million: Money | None
    output_per_million: Money
    reasoning_per_million: Money | None


class PriceView(msgspec.Struct, frozen=True, kw_only=True):
    """A price; it is never edited, only followed."""

    provider: str
    model_pattern: str
    valid_from: datetime
    valid_until: datetime | None
    """When it is followed by the next of its pattern; null for the newest."""
    currency: str
    input_per_million: Money
    cached_per_million: Money | None
    cache_write_per_million: Money | None
    output_per_million: Money
    reasoning_per_million: Money | None
    per_call: Money
    tiers: tuple[TierView, ...]
    added_at: datetime | None
    added_by: Actor | None


class PricePage(msgspec.Struct, frozen=True, kw_only=True):
    """Prices by provider and pattern, the newest of each first."""

    items: tuple[PriceView, ...]
    next_page_token: str | None


def price_asked(body: PutPrice, *, now: datetime) -> Price:
    """The price that a caller means.

    Raises:
        OverflowError: it begins outside of what a year can say.
    """
    tiers = sorted(body.tiers or (), key=lambda tier: tier.above_input_tokens)
    return Price(
        provider=body.provider,
        model_pattern=body.model_pattern,
        valid_from=(body.valid_from or now).astimezone(UTC),
        input_per_million=Decimal(body.input_per_million),
        cached_per_million=_decimal(body.cached_per_million),
        cache_write_per_million=_decimal(body.cache_write_per_million),
        output_per_million=Decimal(body.output_per_million),
        reasoning_per_million=_decimal(body.reasoning_per_million),
        per_call=Decimal(body.per_call or 0),
        tiers=tuple(
            PriceTier(
                above_input_tokens=tier.above_input_tokens,
                input_per_million=Decimal(tier.input_per_million),
                cached_per_million=_decimal(tier.cached_per_million),
                cache_write_per_million=_decimal(tier.cache_write_per_million),
                output_per_million=Decimal(tier.output_per_million),
                reasoning_per_million=_decimal(tier.reasoning_per_million),
            )
            for tier in tiers
        ),
    )


def price_view(listed: ListedPrice) -> PriceView:
    """Show a price."""
    fields = _shown(listed.price)
    fields["tiers"] = tuple(TierView(**_shown(tier)) for tier in listed.price.tiers)
    return PriceView(
        **fields,
        valid_until=listed.valid_until,
        currency="USD",
        added_at=listed.added_at,
        added_by=listed.added_by,
    )


def _shown(amounts: Price | PriceTier) -> dict[str, Any]:
    fields = msgspec.structs.asdict(amounts)
    return {name: money(value) if isinstance(value, Decimal) else value for name, value in fields.items()}


def _decimal(amount: str | None) -> Decimal | None:
    return None if amount is None else Decimal(amount)
