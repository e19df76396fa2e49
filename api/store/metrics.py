"""Figures of conversations: how long, how fast, how dear."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import msgspec

from api.session import ids
from api.store.base import Base, Caller, row_id
from api.store.errors import NotFound
from db import metrics

METRIC_DIMENSIONS = ("day", "agent", "version", "state", "resolution")


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """The median, and what 90 and 99 of 100 do not exceed."""

    p50: float
    p90: float
    p99: float


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What one session comes to, or several."""

    turn_count: int
    discarded_turn_count: int
    completed_count: int
    failed_count: int
    cancelled_count: int
    call_count: int
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost: Decimal
    active_cost: Decimal
    unknown_count: int
    call_latency_ms: Percentiles | None
    turn_latency_ms: Percentiles | None


class SessionMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one session."""

    agent_id: str
    agent_version: int
    state: str
    resolution: str | None
    started_at: datetime
    last_activity_at: datetime
    ended_at: datetime | None
    speakers: tuple[str, ...]
    models: tuple[str, ...]
    figures: Figures


class GroupMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a group of sessions; a dimension that was not asked for is None."""

    day: str | None
    agent_id: str | None
    agent_version: int | None
    state: str | None
    resolution: str | None
    session_count: int
    ended_count: int
    duration_seconds: Percentiles
    figures: Figures


class Metrics(Base):
    """The part of the store that measures conversations."""

    async def of_session(self, caller: Caller, session_id: str) -> SessionMetrics:
        """Read the figures of a session.

        Raises:
            NotFound: there is no such session.
        """
        row = row_id(ids.Kind.SESSION, session_id, "session")
        async with self._pool.acquire() as conn:
            found = await metrics.of_session(conn, caller.organization_id, row)
        if found is None:
            raise NotFound("session")
        return SessionMetrics(
            agent_id=ids.to_wire(ids.Kind.AGENT, found.agent_id),
            agent_version=found.agent_version,
            state=found.state,
            resolution=found.resolution,
            started_at=found.started_at,
            last_activity_at=found.last_activity_at,
            ended_at=found.ended_at,
            speakers=tuple(found.speakers),
            models=tuple(found.models),
            figures=_figures(found.figures),
        )

    async def of_groups(
        self,
        caller: Caller,
        *,
        since: date | None,
        until: date | None,
        time_zone: str,
        group_by: Sequence[str],
        offset: int,
        limit: int,
    ) -> list[GroupMetrics]:
        """Read the figures of the sessions that started on the days `since <= day < until`, by group."""
        async with self._pool.acquire() as conn:
            found = await metrics.of_groups(
                conn,
                caller.organization_id,
                since=since,
                until=until,
                time_zone=time_zone,
                group_by=group_by,
                offset=offset,
                limit=limit,
            )
        return [_group(row) for row in found]


def _group(row: metrics.GroupRow) -> GroupMetrics:
    durations = _percentiles(row.durations_seconds)
    assert durations is not None, "a group has a session"
    return GroupMetrics(
        day=row.day,
        agent_id=None if row.agent_id is None else ids.to_wire(ids.Kind.AGENT, UUID(row.agent_id)),
        agent_version=row.agent_version,
        state=row.state,
        resolution=row.resolution,
        session_count=row.session_count,
        ended_count=row.ended_count,
        duration_seconds=durations,
        figures=_figures(row.figures),
    )


def _figures(row: metrics.FiguresRow) -> Figures:
    fields = row._asdict()
    return Figures(
        call_latency_ms=_percentiles(fields.pop("call_latencies_ms")),
        turn_latency_ms=_percentiles(fields.pop("turn_latencies_ms")),
        **fields,
    )


def _percentiles(found: Sequence[float] | None) -> Percentiles | None:
    if found is None or found[0] is None:
        return None
    return Percentiles(p50=found[0], p90=found[1], p99=found[2])
