"""Interactions: which of them callers ask for, and what they get."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from api.models.base import Message, ModelRequest, ToolSpec
from api.prompt.again import ToolSource
from api.routes.schema_components import BLANK
from api.routes.schemas.approvals import Amount, amount
from api.routes.schemas.money import UsageView, usage_view
from api.routes.schemas.queries import PageToken
from api.routes.schemas.requests import Metadata, Name, WireId
from api.session.document import Actor, AgentRef, Approval, TurnError, TurnState, Usage
from api.store.audit import AskedCall, Interaction, Summary

INTERACTIONS_MAX = 500
"""Items of one page, at most."""

ClientName = Annotated[str, Meta(max_length=200, pattern=BLANK)]


CapturedText = Annotated[str, Meta(max_length=100_000)]
TokenCount = Annotated[int, Meta(ge=0, le=10**12)]


class CapturedUsage(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """What a captured call has used, as its caller says. It is in no ledger."""

    input_tokens: TokenCount
    """Includes cached and cache-write tokens."""
    cached_tokens: TokenCount = 0
    cache_write_tokens: TokenCount = 0
    output_tokens: TokenCount
    """Includes reasoning tokens."""
    reasoning_tokens: TokenCount = 0
    cost: Amount | None = None
    """In USD; null when it is not known."""


class CaptureInteraction(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Record a model call that was made elsewhere."""

    prompt: Annotated[CapturedText, Meta(pattern=BLANK)]
    """All that the model was sent, as one text."""
    model: Name
    """The model's name, as the caller knows it."""
    response: CapturedText | None = None
    """What it answered."""
    session_id: WireId | None = None
    """The session that the call belongs to; it goes when that is deleted."""
    client: ClientName | None = None
    """Whose call it was; null for the API key that records it."""
    project: ClientName | None = None
    usage: CapturedUsage | None = None
    latency_ms: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    metadata: Metadata = {}
    """What the caller keeps beside it. At most 16 KiB as compact JSON."""


class CapturedInteraction(msgspec.Struct, frozen=True, kw_only=True):
    """Where a captured call is found."""

    id: str
    captured_at: datetime


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
    answering_model: str | None
    """As the provider named it, which may be a dated edition; null while the call goes on."""
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


class PromptView(msgspec.Struct, frozen=True, kw_only=True):
    """What the model was sent."""

    instructions: str
    messages: tuple[Message, ...]
    """Oldest first."""
    tools: tuple[ToolSpec, ...]
    """What it was offered."""
    answer_schema: dict[str, Any] | None
    """JSON Schema of the answer; null for free text."""
    reasoning: str | None
    """`off`, `low`, `medium` or `high`; null leaves it to the model."""
    temperature: float | None
    output_tokens_max: int | None


class ContextPack(msgspec.Struct, frozen=True, kw_only=True):
    """What the prompt was made of."""

    first_turn_id: str
    """The oldest turn that was shown."""
    last_turn_id: str
    """The call's own turn."""
    turn_ids: tuple[str, ...]
    """All that were shown, oldest first; failed turns are not."""
    step_ids: tuple[str, ...]
    """The steps of the turn that had been made, in order."""
    context_fields: tuple[str, ...]
    """Dotted paths of the session's context that the instructions read."""
    variables: tuple[str, ...]
    """Dotted paths of the variables that the instructions read."""
    unfilled: tuple[str, ...]
    """Paths that the instructions name and that nothing stood under."""
    tools: tuple[ToolSource, ...]
    """The tools that were offered, with where they come from."""


class ResponseView(msgspec.Struct, frozen=True, kw_only=True):
    """What the model answered."""

    text: str
    reasoning: str
    """What it thought aloud; kept apart from the reply."""
    finish_reason: str | None
    """`stop`, `tool_calls`, `length`, `filter` or `other`; null of a captured call."""


class AttemptView(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at a tool call."""

    step_id: str
    run_id: str
    tool: str
    effect: str
    """Of the tool: `read`, `idempotent` or `once`."""
    arguments: dict[str, Any]
    """As they were sent; empty for a call that was refused."""
    arguments_digest: str
    outcome: str | None
    """`completed`, `failed`, `refused`, `denied` or `unknown`; null while it goes on."""
    content: str | None
    """What the model was told of it."""
    says: str
    """A line that the agent spoke with it."""
    started_at: datetime
    ended_at: datetime | None
    idempotency_key: str
    """What went with it, the same for every attempt."""


class AskedCallView(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call that the model asked for, and what became of it."""

    index: int
    id: str
    """The provider's."""
    name: str
    arguments: str
    """As the model wrote them, which need not be JSON."""
    attempts: tuple[AttemptView, ...]
    """In order; empty for a call that nobody made, such as one that a person has denied."""
    approvals: tuple[Approval, ...]
    """What people were asked about it, and what they decided."""


class InteractionView(InteractionSummary, frozen=True, kw_only=True):
    """One model call, whole."""

    prompt: PromptView | None
    """Rendered again from what it was made of; null when that is no longer possible."""
    prompt_is_exact: bool
    """It is what was sent, to the digest."""
    prompt_difference: str | None
    """Why it is not; null when it is."""
    prompt_sha256: str | None
    """Digest of what was sent; null of a captured call."""
    context_pack: ContextPack | None
    """Null of a captured call."""
    response: ResponseView | None
    """Null while the call goes on, and of one that came to no end or whose response was not captured."""
    tool_calls: tuple[AskedCallView, ...]


def interaction_view(interaction: Interaction) -> InteractionView:
    """Show an interaction whole."""
    request, sources, response = interaction.prompt, interaction.sources, interaction.response
    return InteractionView(
        **summary_fields(interaction.summary),
        prompt=None if request is None else _prompt_view(request),
        prompt_is_exact=interaction.difference is None,
        prompt_difference=interaction.difference,
        prompt_sha256=interaction.prompt_sha256,
        context_pack=None
        if sources is None
        else ContextPack(
            first_turn_id=sources.turn_ids[0],
            last_turn_id=sources.turn_ids[-1],
            **msgspec.structs.asdict(sources),
        ),
        response=None
        if response is None
        else ResponseView(
            text=response.text,
            reasoning=response.reasoning,
            finish_reason=response.finish_reason or None,
        ),
        tool_calls=tuple(_asked_call_view(asked) for asked in interaction.calls),
    )


def _prompt_view(request: ModelRequest) -> PromptView:
    return PromptView(
        instructions=request.instructions,
        messages=request.messages,
        tools=request.tools,
        answer_schema=request.answer_schema,
        reasoning=request.reasoning,
        temperature=request.temperature,
        output_tokens_max=request.output_tokens_max,
    )


def _asked_call_view(asked: AskedCall) -> AskedCallView:
    fields = msgspec.structs.asdict(asked)
    fields["attempts"] = tuple(AttemptView(**msgspec.structs.asdict(each)) for each in asked.attempts)
    return AskedCallView(**fields)


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


def captured_usage(usage: CapturedUsage) -> Usage:
    """Read what a captured call is said to have used."""
    fields = msgspec.structs.asdict(usage)
    fields["cost"] = amount(usage.cost)
    return Usage(**fields, unknown_count=int(usage.cost is None))
