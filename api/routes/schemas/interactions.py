"""Interactions: which of them callers ask for, and what they get."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from api.routes.schemas.money import UsageView, usage_view
from api.routes.schemas.queries import PageToken
from api.routes.schemas.requests import WireId
from api.session.document import Actor, AgentRef, TurnError, TurnState
from api.store.interactions import Summary

INTERACTIONS_MAX = 500
"""Items of one page, at most."""

ClientName = Annotated[str, Meta(min_length=1, max_length=200)]


class InteractionListQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which interactions; newest first."""

    session_id: WireId | None = None
    """Only those of this session."""
    agent_id: WireId | None = None
    """Only those of sessions with this agent."""
    client: ClientName | None = None
    """Only those whose `client` has this `id`: that of an API key, or what a captured call says."""
    project: ClientName | None = None
    """Only those of this project: of the session's metadata, or what a captured call says."""
    since: Annotated[datetime, Meta(tz=True)] | None = None
    """Only those that began at this instant or later."""
    limit: Annotated[int, Meta(ge=1, le=INTERACTIONS_MAX)] = 50
    """How many items at most."""
    page_token: PageToken | None = None
    """`next_page_token` of the page before; left out for the first page."""

    @property
    def scope(self) -> str:
        """The name of the list, for its page tokens."""
        narrowed = msgspec.structs.replace(self, limit=1, page_token=None)
        return f"interactions?{msgspec.json.encode(narrowed).decode()}"


class ClientView(msgspec.Struct, frozen=True, kw_only=True):
    """Whose call it was."""

    id: str
    """The API key that sent the turn, `key_...`, or what a captured call says."""
    name: str | None
    """Of the key."""


class InteractionTurn(msgspec.Struct, frozen=True, kw_only=True):
    """The turn of an interaction, and what has become of it."""

    id: str
    position: int
    state: TurnState
    place: Literal["in_effect", "rewound", "discarded"]
    """`rewound`: on the line, but behind the cursor. `discarded`: in a discarded future."""
    error: TurnError | None
    """Null unless the turn failed."""


class InteractionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One model call without its text. What a captured call does not say is null."""

    id: str
    """The id of the step, `stp_...`; of a captured call `int_...`."""
    source: Literal["session", "captured"]
    """Made by a turn of a session, or made elsewhere and told to us."""
    session_id: str | None
    turn: InteractionTurn | None
    agent: AgentRef | None
    node: str | None
    """The node that the agent was in; null in calls recorded before agents had nodes."""
    purpose: str | None
    """`greeting`, `reply` or `extraction`."""
    speaker: str | None
    provider: str | None
    model: str
    """As it was asked for."""
    started_at: datetime
    """Of a captured call: when it was captured."""
    latency_ms: int | None
    usage: UsageView | None
    """As it was settled, corrections apart; null while the call goes on."""
    outcome: Literal["completed", "failed", "cancelled"] | None
    """How the call ended, whatever became of its turn; null while it goes on."""
    billable: bool | None
    billable_reason: str | None
    client: ClientView | None
    project: str | None
    actor: Actor | None
    """Who sent the turn, or captured the call."""
    run_id: str | None
    attempt: int | None
    """Rises when another runner had to take the turn over."""
    metadata: dict[str, Any] | None
    """Of a captured call."""


class InteractionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Interactions, newest first."""

    items: tuple[InteractionSummary, ...]
    next_page_token: str | None
    """Null on the last page."""


def summary_fields(summary: Summary) -> dict[str, Any]:
    """Write a summary's fields as they are on the wire."""
    fields = msgspec.structs.asdict(summary)
    turn, client = summary.turn, summary.client
    fields["turn"] = None if turn is None else InteractionTurn(**msgspec.structs.asdict(turn))
    fields["client"] = None if client is None else ClientView(**msgspec.structs.asdict(client))
    fields["usage"] = None if summary.usage is None else usage_view(summary.usage)
    return fields


def interaction_summary(summary: Summary) -> InteractionSummary:
    """Show an interaction without its text."""
    return InteractionSummary(**summary_fields(summary))
