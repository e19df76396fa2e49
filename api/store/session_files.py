"""The file that holds a session whole: what `exporting` writes and `importing` reads.

One JSON document. Each turn, event and entry stands on a line of its own, so that a long file can be looked
through with tools for lines.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from api.session.document import Actor

KIND = "turnledger.session"
FORMAT = 1
"""The format of the file; header and turns in it carry their own (`api.session.codec`)."""

_Id = Annotated[str, Meta(min_length=1, max_length=64)]
_Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
_Number = Annotated[int, Meta(ge=1, le=2**31 - 1)]
_Object = dict[str, Any]


class FileAgent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The agent that the session is with, as it was published."""

    id: _Id
    version: _Number
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    definition: _Object


class AgentChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The published version of an agent that an imported session is to go on with."""

    id: _Id
    version: _Number


class FileCounts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much the file holds; one that was cut or edited is found out."""

    branches: _Count
    discarded_futures: _Count
    turns: _Count
    steps: _Count
    events: _Count
    usage_entries: _Count
    imported_usage_entries: _Count


class SessionFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A session whole, as one file."""

    kind: Literal["turnledger.session"]
    format: Annotated[int, Meta(ge=1, le=FORMAT)]
    exported_at: datetime
    organization_id: _Id
    """Whose the session was; for information."""
    agent: FileAgent
    session: _Object
    """The header."""
    context: _Object
    metadata: _Object
    branches: tuple[_Object, ...]
    """Every branch ever opened, by number."""
    discarded_futures: tuple[_Object, ...]
    """Every future ever discarded, by ordinal; one that was restored says by which revision."""
    turns: tuple[_Object, ...]
    """Every turn ever created with its steps, as `FileTurn`: branch by branch, by position."""
    events: tuple[_Object, ...]
    """One for each revision."""
    usage_entries: tuple[_Object, ...]
    """What the session has cost, from the ledger."""
    imported_usage_entries: tuple[_Object, ...]
    """What it had cost before it was imported itself."""
    counts: FileCounts
    as_agent: AgentChoice | None = None
    """Not part of an exported file: with which agent the session goes on here, if not with its own."""


class FileStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model or tool call."""

    id: str
    run_id: str
    attempt: _Number
    kind: Literal["model", "tool"]
    purpose: str
    speaker: str
    provider: str | None
    model: str | None
    started_at: datetime
    request: msgspec.Raw
    """How the call was made: of a model by reference, of a tool with its arguments."""
    state: Literal["started", "completed", "failed", "cancelled"]
    ended_at: datetime | None
    result: msgspec.Raw
    """What came back; null when nothing did."""


class FileTurn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A turn and the calls that were made in it."""

    turn: msgspec.Raw
    steps: tuple[FileStep, ...]


class FileFuture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a line that was discarded once."""

    ordinal: _Number
    branch: _Count
    branch_point: _Count
    line_count: _Number
    discarded_at: datetime
    discarded_by: Actor
    restored_revision: _Number | None
    """The revision that brought it back onto the line; None while it can be restored."""


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What an import reads of a ledger entry; the rest of it is kept as it is."""

    seq: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    id: str
    session_id: str
    turn_id: str
    step_id: str
    corrects_id: str | None
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost: Decimal | None
