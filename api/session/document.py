"""What a session is made of: the header, its turns, the branches they lie on, the discarded futures.

Every struct is frozen and forbids unknown fields, so that a process of an older release cannot erase
what a newer one wrote. Ids are wire ids (`trn_...`, see `ids`), instants are aware datetimes in UTC.

    header      `Session`: small, rewritten by every commit, the same size at turn 10,000 as at turn 10
    turns       `Turn`: one row each, written when appended and when they end, then never again
    branches    `Branch`: a stretch of turns that leaves its parent at a branch point (see `line`)
    futures     `DiscardedFuture`: the part of a line that a new turn has displaced; restorable
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

FORMAT = 1
"""The stored format that this release writes; `codec` upgrades older ones when they are read."""

START_NODE = "start"
"""The node that every agent begins at."""

UNFINISHED_MAX = 9
"""Turns of one session that may be unfinished at once: the active one and eight in the queue."""

VARIABLES_BYTES_MAX = 32 * 1024
"""How much room the agent's variables may take, as compact JSON."""

APPROVALS_MAX = 32
"""Approvals of one turn that may be open at once."""

NOTE_CHARACTERS_MAX = 2_000
"""How long the note of a decision may be."""


class SessionState(StrEnum):
    """Whether a session takes further commands."""

    OPEN = "open"
    ENDED = "ended"


class TurnState(StrEnum):
    """Where a turn is in its life. A run is `running`, a turn never: a claim moves no revision."""

    PENDING = "pending"
    AWAITING_APPROVAL = "awaiting_approval"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """A final turn never changes again."""
        return not TURN_TRANSITIONS[self]


TURN_TRANSITIONS: dict[TurnState, frozenset[TurnState]] = {
    TurnState.PENDING: frozenset(
        {TurnState.AWAITING_APPROVAL, TurnState.COMPLETED, TurnState.FAILED, TurnState.CANCELLED}
    ),
    TurnState.AWAITING_APPROVAL: frozenset({TurnState.PENDING, TurnState.FAILED, TurnState.CANCELLED}),
    TurnState.COMPLETED: frozenset(),
    TurnState.FAILED: frozenset(),
    TurnState.CANCELLED: frozenset(),
}
"""The one table of a turn's life; `docs/state-machine.md` is generated from it."""


class EventType(StrEnum):
    """The durable facts told to listeners, one per revision."""

    SESSION_CREATED = "session.created"
    SESSION_UPDATED = "session.updated"
    SESSION_REWOUND = "session.rewound"
    SESSION_RESTORED = "session.restored"
    SESSION_ENDED = "session.ended"
    TURN_CREATED = "turn.created"
    TURN_AWAITING_APPROVAL = "turn.awaiting_approval"
    TURN_COMPLETED = "turn.completed"
    TURN_FAILED = "turn.failed"
    TURN_CANCELLED = "turn.cancelled"
    APPROVAL_DECIDED = "approval.decided"


class Actor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Who issued a command; for audit, never for permission."""

    key_id: str | None = None
    """The API key that authenticated the call; None for our own processes."""
    on_behalf_of: str | None = None
    """Whom the caller says it acts for (`Turnledger-On-Behalf-Of`); recorded, not verified."""
    process: str | None = None
    """Which of our own processes acted (`runner`, `system`); None for calls of the API."""


class AgentRef(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The agent that a session talks to, pinned to one published version."""

    id: str
    version: int


class UserMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the user said in a turn."""

    text: str
    speaker: str | None = None
    """A name for the person who spoke; None is simply the user."""


class Reply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One speaker's assistant message inside a turn; a second one is an interjection."""

    speaker: str
    text: str
    created_at: datetime
    truncated: bool = False
    """The text was cut off: by a cancel, or by the model's output limit."""


class TurnError(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Why a turn failed, for the person who reads the session."""

    code: str
    """A word of `api.models.base.ModelErrorCode`, or of the runner (`attempts_exhausted`)."""
    message: str
    provider: str | None = None
    provider_status: int | None = None
    """The HTTP status of the provider's answer, where there was one."""


class Usage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tokens and cost of one step, or summed over a turn or a session. All token counts are sums of calls."""

    input_tokens: int = 0
    """Includes cached and cache-write tokens."""
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    """Includes reasoning tokens."""
    reasoning_tokens: int = 0
    cost: Decimal | None = Decimal(0)
    """Sum of the known costs; None when nothing is known of any (never 0 for unknown)."""
    currency: str = "USD"
    unknown_count: int = 0
    """Calls whose cost is not known and which therefore add nothing to `cost`."""


class StepSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One model or tool call as the turn remembers it; the audit rows hold the rest."""

    id: str
    kind: str
    """`model` or `tool`."""
    outcome: str
    """`completed`, `failed` or `cancelled`."""
    model: str | None = None
    tool: str | None = None
    """The name of the tool that was called; None for a model call."""
    effect: str | None = None
    """Of the tool: `read`, `idempotent` or `once`; what a preview of a rewind warns of."""
    started_at: datetime
    latency_ms: int | None = None
    usage: Usage | None = None
    """None where the call has no ledger row."""


class ApprovalReason(StrEnum):
    """Why a person is asked about a tool call."""

    REQUIRED = "required"
    """The tool asks for it always."""
    POLICY = "policy"
    """The organization's rules ask for it, or are silent."""
    OUTCOME_UNKNOWN = "outcome_unknown"
    """The call was begun and nobody knows whether it was made; approved makes it again."""


class Decision(StrEnum):
    """What was decided about an approval."""

    APPROVED = "approved"
    DENIED = "denied"


class Notice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Something that went otherwise than the agent's definition intends, and that people should see."""

    code: str
    """`iteration_limit`, `hop_limit`, `tool_missing` or `extraction_failed`."""
    message: str


class Approval(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A question to a person about one tool call; decided at most once."""

    id: str
    asked_by: str
    """The step of the model call that asked for the tool."""
    call_index: int
    """Which of that step's calls, 0-based."""
    step_id: str
    """The step that the call will be once it is approved. There is no such step before, so an approval that
    has been used shows by it."""
    tool: str
    arguments: dict[str, Any]
    arguments_digest: str
    """SHA-256 in hex of tool and arguments; a decision names it, so that it is of what was seen."""
    effect: str
    """Of the tool: `read`, `idempotent` or `once`; a person judges by it."""
    reason: ApprovalReason
    requested_at: datetime
    expires_at: datetime
    """From then on it counts as denied."""
    decision: Decision | None = None
    """None while it is open, and for good when the turn was cancelled before."""
    decided_at: datetime | None = None
    decided_by: Actor | None = None
    """A person's key, or our own process when it has expired."""
    note: str | None = None
    """Said by whoever decided, at most NOTE_CHARACTERS_MAX; a denial tells it to the model."""
    has_expired: bool = False
    """Nobody decided in time; it is denied then."""


class Turn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One exchange: an optional user message and the assistant's replies to it.

    Identified for good by (branch, position): discarding or restoring a future never re-keys a turn.
    """

    id: str
    branch: int
    position: int
    """0-based place on every line that this turn is part of."""
    format: int = FORMAT
    """The stored format of this turn; a turn written by an older release keeps its own."""
    state: TurnState
    revision: int
    """The session's revision that last changed this turn."""
    created_at: datetime
    finished_at: datetime | None = None
    """None until the turn is final."""
    created_by: Actor = Actor()
    user_message: UserMessage | None = None
    """None for a greeting."""
    replies: tuple[Reply, ...] = ()
    """Of a turn that waits, or goes on after that: what had been said when it last asked."""
    node: str | None = None
    """The agent's node after this turn; None when the turn changed neither node nor variables."""
    variables: dict[str, Any] | None = None
    """All variables as they stand after this turn; None when the turn changed neither node nor variables."""
    steps: tuple[StepSummary, ...] = ()
    approvals: tuple[Approval, ...] = ()
    """All that were ever asked for in this turn, in order. One is open while it is undecided and the turn
    not final; the end of the turn closes it undecided.
    """
    notices: tuple[Notice, ...] = ()
    error: TurnError | None = None
    """None unless the turn failed."""
    usage: Usage | None = None
    """None until the turn waits or is final, and for turns without a priced call."""
    copied_from: str | None = None
    """The turn of another session that a fork copied; a copy has no usage."""


class Branch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stretch of turns that leaves its parent before position `branch_point`.

    The parent is always the branch that holds position `branch_point - 1`, so a chain of ancestors is
    never longer than the line has stretches, however often a turn was regenerated.
    """

    number: int
    parent: int | None
    """None for a branch that starts at position 0."""
    branch_point: int


FIRST_BRANCH = Branch(number=0, parent=None, branch_point=0)
"""The branch that every session begins with; no change opens it."""


class DiscardedFuture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The part of a line that left it when a new turn was appended behind a moved cursor.

    The line that it was the end of is (`branch`, `line_count`); the turns at positions
    `branch_point .. line_count - 1` of that line are its own, and of no other future.
    """

    ordinal: int
    """1-based, never reused within a session."""
    branch: int
    """The branch that was current when this future was discarded."""
    branch_point: int
    """Rises when a restored future takes the first turns of this one back onto the line."""
    line_count: int
    discarded_at: datetime
    discarded_by: Actor

    @property
    def turn_count(self) -> int:
        """How many turns this future keeps; at least 1."""
        return self.line_count - self.branch_point


class Effect(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One thing that a command did, in the order in which it did them."""

    type: EventType
    turn_id: str | None = None
    """The turn that it happened to; None where the effect is on the session."""
    approval_id: str | None = None
    """The approval that was decided; None elsewhere."""
    ordinal: int | None = None
    """The discarded future that was restored; None elsewhere."""


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one revision did. Exactly one per revision, so listeners see gaps by counting."""

    revision: int
    type: EventType
    """The command's own effect."""
    at: datetime
    actor: Actor
    effects: tuple[Effect, ...]
    """All effects in order, the command's own among them."""
    line_from: int | None
    """The lowest position whose occupant or content this revision changed; None when it changed none."""


class Session(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The header: everything of the document that is neither a turn, a future, context nor metadata.

    Context and metadata may be large and change rarely, so they lie beside the header and a commit that
    does not change them does not write them.
    """

    id: str
    revision: int
    """>= 1, +1 for every committed change of the document."""
    state: SessionState
    format: int = FORMAT
    agent: AgentRef
    name: str | None = None
    cursor: int = 0
    """How many turns are in effect, 0..turn_count; a count, never an index."""
    turn_count: int = 0
    """Turns on the line, in effect or not."""
    branch: int = 0
    """The current branch: the line is this branch and its ancestors."""
    branch_count: int = 1
    """Branches ever opened; the next one takes this number."""
    unfinished_count: int = 0
    """Turns on the line that are not final, 0..UNFINISHED_MAX.

    All of them lie on the current branch, from the active one on, with nothing between them but queued
    turns that were cancelled alone.
    """
    active_turn_id: str | None = None
    """The first unfinished turn, which a runner may claim; None when every turn is final."""
    discarded_count: int = 0
    """Futures ever discarded; the last ordinal given."""
    node: str = START_NODE
    """The agent's node after the turns in effect."""
    variables: dict[str, Any] = {}
    """The agent's variables after the turns in effect."""
    simulator_enabled: bool = False
    resolution: str | None = None
    """How the session ended; None while it is open, and when no word was given."""
    forked_from: str | None = None
    """The turn that this session was forked at; None for a session of its own."""
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None = None
    """None while the session is open."""


class Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A session as a command finds it: the header and exactly its unfinished turns, in order of position."""

    session: Session
    unfinished: tuple[Turn, ...] = ()


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole session, for the law (`invariants.check`), for tests and for export."""

    session: Session
    context: dict[str, Any]
    metadata: dict[str, Any]
    turns: tuple[Turn, ...]
    """The turns on the line, by position."""
    branches: tuple[Branch, ...]
    """Every branch ever opened, by number."""
    discarded_futures: tuple[DiscardedFuture, ...]
    """The futures that can be restored now, by ordinal."""
    discarded_turns: tuple[Turn, ...] = ()
    """The turns of all discarded futures."""


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that a command writes: accepted whole while the revision is `event.revision - 1`, or not at all."""

    session: Session
    """The new header; its revision is one above the one that the command saw."""
    created: Turn | None = None
    changed: tuple[Turn, ...] = ()
    """Turns that were unfinished and are written again."""
    opened: Branch | None = None
    discarded: DiscardedFuture | None = None
    restored: int | None = None
    """Ordinal of the future that is on the line again."""
    trimmed: tuple[DiscardedFuture, ...] = ()
    """Futures whose first turns came back onto the line with the restored one."""
    metadata: dict[str, Any] | None = None
    """The new metadata; None when the command did not touch it."""
    requested: tuple[Approval, ...] = ()
    """Approvals that the active turn now waits for."""
    decided: Approval | None = None
    """The approval that was decided, with its decision."""
    revokes_run: bool = False
    """The active turn was taken from its runner: the epoch rises, so the old run can publish nothing."""
    event: Event


class Creation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new session: its header at revision 1 (2 with a greeting), and what lies beside it."""

    session: Session
    context: dict[str, Any]
    metadata: dict[str, Any]
    turns: tuple[Turn, ...] = ()
    """A greeting, or the copied turns of a fork."""
    events: tuple[Event, ...]
    """One per revision."""
