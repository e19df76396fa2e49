"""What the database holds when all is quiet: the other half of the truth, as plain values."""

from collections import defaultdict
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from api.session import ids


class EventFact(msgspec.Struct, frozen=True, kw_only=True):
    """One revision of a session."""

    revision: int
    type: str
    call_id: str | None
    """The client's call that made it; None when it was a runner."""
    effects: tuple[tuple[str, str | None], ...]
    """Type and turn of each."""


class TurnFact(msgspec.Struct, frozen=True, kw_only=True):
    """A turn, on the line or not."""

    id: str
    session_id: str
    state: str
    user_text: str | None
    reply_text: str | None
    """None when there is no reply."""
    model_call_count: int = 0
    """Finished model calls that the turn remembers."""

    @property
    def asks_for_tools(self) -> bool:
        """Its user has told the provider to; then it takes several calls, which speak one after the other."""
        return "calls=" in (self.user_text or "")

    @property
    def model_calls_max(self) -> int:
        """How many may have come to their end: one for each plan, and one for what a node learns."""
        if not self.asks_for_tools:
            return 1
        text = self.user_text or ""
        return text.count("[[") + text.count("go:{}")


class DeltaFact(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a turn's delta log."""

    number: int
    step_id: str
    kind: str
    offset: int
    text: str


class EntryFact(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the ledger."""

    turn_id: str
    step_id: str
    is_correction: bool
    outcome: str
    is_billable: bool
    reason: str


class SessionFact(msgspec.Struct, frozen=True, kw_only=True):
    """A session's header."""

    id: str
    revision: int
    renames: dict[str, int]
    """By call: what each rename has left in the metadata."""


class Facts(msgspec.Struct, kw_only=True):
    """All of it."""

    sessions: dict[str, SessionFact] = {}
    events: dict[str, list[EventFact]] = {}
    """By session, by revision."""
    turns: dict[str, TurnFact] = {}
    deltas: dict[str, list[DeltaFact]] = {}
    """By turn, by number."""
    entries: list[EntryFact] = []
    open_steps: list[str] = []
    """Calls that were started and never settled."""
    running: list[str] = []
    """Turns that a run believes to hold."""
    findings: list[tuple[str, str]] = []
    """What `turnledger doctor` has found: check, and what."""


async def read_facts(dsn: str) -> Facts:
    """Read everything of all organizations, from one snapshot."""
    conn = await asyncpg.connect(dsn, ssl=False)
    try:
        await conn.set_type_codec("json", schema="pg_catalog", encoder=bytes, decoder=msgspec.json.decode)
        async with conn.transaction(isolation="repeatable_read", readonly=True):
            return await _read(conn)
    finally:
        await conn.close()


async def _read(conn: "asyncpg.Connection[asyncpg.Record]") -> Facts:
    facts = Facts()
    for row in await conn.fetch("SELECT id, revision, metadata FROM sessions"):
        id_ = ids.to_wire(ids.Kind.SESSION, row["id"])
        facts.sessions[id_] = SessionFact(id=id_, revision=row["revision"], renames=row["metadata"])
    events: dict[str, list[EventFact]] = defaultdict(list)
    for row in await conn.fetch(
        "SELECT session_id, revision, type, actor, effects FROM events ORDER BY session_id, revision"
    ):
        events[ids.to_wire(ids.Kind.SESSION, row["session_id"])].append(
            EventFact(
                revision=row["revision"],
                type=row["type"],
                call_id=row["actor"].get("on_behalf_of"),
                effects=tuple((effect["type"], effect.get("turn_id")) for effect in row["effects"]),
            )
        )
    facts.events = dict(events)
    for row in await conn.fetch("SELECT id, session_id, state, body FROM turns"):
        turn = _turn(row["id"], row["session_id"], row["state"], row["body"])
        facts.turns[turn.id] = turn
    deltas: dict[str, list[DeltaFact]] = defaultdict(list)
    for row in await conn.fetch(
        "SELECT turn_id, number, step_id, kind, text_offset, text FROM deltas ORDER BY turn_id, number"
    ):
        deltas[ids.to_wire(ids.Kind.TURN, row["turn_id"])].append(
            DeltaFact(
                number=row["number"],
                step_id=str(row["step_id"]),
                kind=row["kind"],
                offset=row["text_offset"],
                text=row["text"],
            )
        )
    facts.deltas = dict(deltas)
    facts.entries = [
        EntryFact(
            turn_id=ids.to_wire(ids.Kind.TURN, row["turn_id"]),
            step_id=str(row["step_id"]),
            is_correction=row["corrects_id"] is not None,
            outcome=row["outcome"],
            is_billable=row["billable"],
            reason=row["billable_reason"],
        )
        for row in await conn.fetch(
            "SELECT turn_id, step_id, corrects_id, outcome, billable, billable_reason FROM usage_entries "
            "ORDER BY organization_id, seq"
        )
    ]
    facts.open_steps = [
        str(row[0]) for row in await conn.fetch("SELECT id FROM steps WHERE state = 'started'")
    ]
    facts.running = [
        ids.to_wire(ids.Kind.TURN, row[0])
        for row in await conn.fetch("SELECT turn_id FROM runs WHERE state = 'running'")
    ]
    return facts


def _turn(row_id: UUID, session_id: UUID, state: str, body: dict[str, Any]) -> TurnFact:
    replies = body["replies"]
    return TurnFact(
        id=ids.to_wire(ids.Kind.TURN, row_id),
        session_id=ids.to_wire(ids.Kind.SESSION, session_id),
        state=state,
        user_text=None if body["user_message"] is None else body["user_message"]["text"],
        reply_text="".join(reply["text"] for reply in replies) if replies else None,
        model_call_count=sum(
            step["kind"] == "model" and step["outcome"] == "completed" for step in body["steps"]
        ),
    )
