"""What callers get of conversations' figures."""

from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType

from api.routes.schemas.money import Money, money
from api.store.metrics import Figures, GroupMetrics, Percentiles, SessionMetrics


class PercentilesView(msgspec.Struct, frozen=True, kw_only=True):
    """The median, and what 90 and 99 of 100 do not exceed."""

    p50: float
    p90: float
    p99: float


class FiguresView(msgspec.Struct, frozen=True, kw_only=True):
    """What one session comes to, or several."""

    turn_count: int
    """On the line."""
    discarded_turn_count: int
    """In discarded futures."""
    completed_count: int
    """Of all turns, discarded ones too; so are the next two."""
    failed_count: int
    cancelled_count: int
    call_count: int
    """Model calls, whatever became of their turns; so are the tokens and the cost."""
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost: Money
    """Of all calls whose cost is known."""
    active_cost: Money
    """Of those among them whose turns are on the line."""
    currency: str
    unknown_count: int
    """Calls whose cost is not known."""
    call_latency_ms: PercentilesView | None
    """Of completed model calls; null of none."""
    turn_latency_ms: PercentilesView | None
    """Of completed turns, from the message to the published answer, waiting and approvals counted in."""


class SessionMetricsView(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a session."""

    session_id: str
    agent_id: str
    agent_version: int
    speakers: tuple[str, ...]
    """Who has spoken by a model call."""
    models: tuple[str, ...]
    """`provider:model` of every model that was called."""
    state: str
    resolution: str | UnsetType | None = UNSET
    """As whoever ended it has put it; missing unless the key may read sessions."""
    started_at: datetime
    last_activity_at: datetime
    ended_at: datetime | None
    figures: FiguresView


class MetricsGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a group of sessions; what is not grouped by is null."""

    day: str | None
    """On which they started, in the time zone of the answer."""
    agent_id: str | None
    agent_version: int | None
    state: str | None
    resolution: str | None
    """Also null for sessions that were given none."""
    session_count: int
    ended_count: int
    duration_seconds: PercentilesView
    """From the start to the end, or to the last activity of an open session."""
    figures: FiguresView


class MetricsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Figures by group."""

    items: tuple[MetricsGroup, ...]
    next_page_token: str | None
    time_zone: str
    """The days are those of this time zone."""


def session_metrics_view(
    session_id: str, found: SessionMetrics, *, is_text_shown: bool
) -> SessionMetricsView:
    """Show the figures of a session, and what people have written about it only if that may be seen."""
    fields = msgspec.structs.asdict(found) | {"figures": _figures(found.figures)}
    if not is_text_shown:
        del fields["resolution"]
    return SessionMetricsView(session_id=session_id, **fields)


def metrics_group(found: GroupMetrics) -> MetricsGroup:
    """Show the figures of a group."""
    fields = msgspec.structs.asdict(found)
    fields["figures"] = _figures(found.figures)
    fields["duration_seconds"] = _percentiles(found.duration_seconds)
    return MetricsGroup(**fields)


def _figures(found: Figures) -> FiguresView:
    fields = msgspec.structs.asdict(found)
    fields["cost"], fields["active_cost"] = money(found.cost), money(found.active_cost)
    fields["call_latency_ms"] = _percentiles(found.call_latency_ms)
    fields["turn_latency_ms"] = _percentiles(found.turn_latency_ms)
    return FiguresView(currency="USD", **fields)


def _percentiles(found: Percentiles | None) -> PercentilesView | None:
    return None if found is None else PercentilesView(p50=found.p50, p90=found.p90, p99=found.p99)
