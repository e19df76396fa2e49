"""What callers say and get of budgets."""

from datetime import datetime
from typing import Literal

import msgspec

from api.routes.schemas.money import Amount, Money, money
from api.routes.schemas.queries import TimeZoneName
from api.routes.schemas.requests import WireId
from api.session.document import Actor
from api.store.base import BudgetState

Period = Literal["day", "month", "total"]


class PutBudget(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What may be spent in a period; one of `limit` and `warn_at` is needed."""

    period: Period
    """A calendar day, a calendar month, or all time."""
    key_id: WireId | None = None
    """Only what is spent for turns that this API key creates; null for all of the organization."""
    time_zone: TimeZoneName = "UTC"
    """The IANA name of the time zone whose days and months these are."""
    limit: Amount | None = None
    """In USD: when this is spent or reserved, no turn begins. Null for a budget that only warns."""
    warn_at: Amount | None = None
    """In USD: from here on calls that make a turn are answered with a warning. Null for none."""
    reserve_per_call: Amount = "0"
    """What a call is taken to cost, while it runs, where nothing is known of its model; at least this much is
    reserved for every call."""

    def __post_init__(self) -> None:
        """Refuse a budget that does nothing; the schema cannot say so without refusing nulls."""
        if self.limit is None and self.warn_at is None:
            raise ValueError("one of limit and warn_at is needed")


class BudgetView(msgspec.Struct, frozen=True, kw_only=True):
    """A budget as it stands."""

    key_id: str | None
    period: str
    """`day`, `month` or `total`."""
    time_zone: str
    currency: str
    limit: Money | None
    warn_at: Money | None
    reserve_per_call: Money
    state: Literal["ok", "warning", "exceeded"]
    """`exceeded`: no turn begins. `warning`: calls that make a turn are answered with a warning."""
    spent: Money
    """In this period, from the ledger; calls of unknown cost add nothing."""
    reserved: Money
    """What the calls under way are taken to cost."""
    call_count: int
    """Calls under way."""
    starts_at: datetime | None
    """Null for all time."""
    resets_at: datetime | None
    """Null for all time."""
    set_at: datetime
    set_by: Actor


class BudgetList(msgspec.Struct, frozen=True, kw_only=True):
    """Every budget of the organization: at most one for each key and period."""

    items: tuple[BudgetView, ...]


def budget_view(budget: BudgetState) -> BudgetView:
    """Show a budget."""
    state: Literal["ok", "warning", "exceeded"] = "warning" if budget.is_near else "ok"
    return BudgetView(
        key_id=budget.key_id,
        period=budget.period,
        time_zone=budget.time_zone,
        currency="USD",
        limit=money(budget.limit),
        warn_at=money(budget.warn_at),
        reserve_per_call=money(budget.reserve_per_call),
        state="exceeded" if budget.is_exceeded else state,
        spent=money(budget.spent),
        reserved=money(budget.reserved),
        call_count=budget.call_count,
        starts_at=budget.starts_at,
        resets_at=budget.resets_at,
        set_at=budget.set_at,
        set_by=budget.set_by,
    )


def warning_of(budgets: tuple[BudgetState, ...]) -> dict[str, str]:
    """The header field that warns of budgets near their end; none when there are none."""
    told = ", ".join(
        f"{budget.period}; scope={budget.key_id or 'organization'}; spent={budget.spent:f}; "
        f"reserved={budget.reserved:f}" + ("" if budget.limit is None else f"; limit={budget.limit:f}")
        for budget in budgets
    )
    return {"Turnledger-Budget-Warning": told} if told else {}
