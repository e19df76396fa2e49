"""The proof about tools: what arrived at their server, held against what people have said and the steps say.

once         arrives at most once, and once more for each time that a person had it made again
asked about  never arrives unless a person said so, or a rule that a person made for good
idempotent   arrives under one key however often, and no two calls share one
approvals    are open while their turn waits, and only then; at most one step was made by each
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

import asyncpg
import msgspec

from tests.chaos.tool_agents import ALWAYS_ASKS, EFFECTS, RULES_DECIDE
from tests.chaos.tool_server import Arrival


class ApprovalFact(msgspec.Struct, frozen=True, kw_only=True):
    """A question, and what was said to it."""

    turn_id: str
    turn_state: str
    step_id: str
    tool: str
    argument: str
    reason: str
    decision: str | None
    is_standing: bool
    is_open: bool


class MadeFact(msgspec.Struct, frozen=True, kw_only=True):
    """A tool step that was not refused."""

    id: str
    turn_id: str
    tool: str
    argument: str


class ToolFacts(msgspec.Struct, kw_only=True):
    """What the database says of tools."""

    approvals: list[ApprovalFact] = []
    made: list[MadeFact] = []
    waiting: list[str] = []
    """Turns that wait for a person."""


async def read_tool_facts(dsn: str) -> ToolFacts:
    """Read everything of all organizations."""
    conn = await asyncpg.connect(dsn, ssl=False)
    try:
        approvals = await conn.fetch(
            "SELECT a.turn_id, t.state, a.step_id, a.tool, a.arguments->>'id' AS argument, a.reason, "
            "       a.decision, a.is_standing, a.closed_at "
            "  FROM approvals a JOIN turns t ON t.id = a.turn_id"
        )
        made = await conn.fetch(
            "SELECT id, turn_id, request->>'tool' AS tool, request->'arguments'->>'id' AS argument "
            "  FROM steps WHERE kind = 'tool' AND request->'arguments'->>'id' IS NOT NULL "
            "   AND COALESCE(result->>'end', '') NOT IN ('refused', 'denied')"
        )
        waiting = await conn.fetch("SELECT id FROM turns WHERE state = 'awaiting_approval'")
    finally:
        await conn.close()
    return ToolFacts(
        approvals=[
            ApprovalFact(
                turn_id=str(row["turn_id"]),
                turn_state=row["state"],
                step_id=str(row["step_id"]),
                tool=row["tool"],
                argument=row["argument"],
                reason=row["reason"],
                decision=row["decision"],
                is_standing=row["is_standing"],
                is_open=row["decision"] is None and row["closed_at"] is None,
            )
            for row in approvals
        ],
        made=[
            MadeFact(
                id=str(row["id"]), turn_id=str(row["turn_id"]), tool=row["tool"], argument=row["argument"]
            )
            for row in made
        ],
        waiting=[str(row["id"]) for row in waiting],
    )


Found = Iterator[tuple[str, str]]


def check_tools(arrivals: Sequence[Arrival], facts: ToolFacts) -> Found:
    """Find everything that does not hold."""
    asked: dict[str, list[ApprovalFact]] = defaultdict(list)
    for approval in facts.approvals:
        asked[approval.argument].append(approval)
    came: dict[str, list[Arrival]] = defaultdict(list)
    for arrival in arrivals:
        came[arrival.argument].append(arrival)
    is_any_standing = any(approval.is_standing for approval in facts.approvals)
    for argument, calls in came.items():
        yield from _arrived(calls, asked[argument], is_any_standing=is_any_standing)
    yield from _keys(arrivals)
    yield from _recorded(came, facts.made)
    yield from _waiting(facts)


def _arrived(calls: list[Arrival], asked: list[ApprovalFact], *, is_any_standing: bool) -> Found:
    tool, count = calls[0].tool, len(calls)
    approved = [approval for approval in asked if approval.decision == "approved"]
    repeats = [approval for approval in approved if approval.reason == "outcome_unknown"]
    told = f"{tool} {calls[0].argument} arrived {count} times; asked: {asked}"
    if EFFECTS[tool] == "once" and count > 1 + len(repeats):
        yield "a call was made again that may be made once", told
    if tool == ALWAYS_ASKS and count > len(approved):
        yield (
            "an approval was used up twice" if approved else "a call was made that nobody had approved",
            told,
        )
    if tool == RULES_DECIDE and not approved and not is_any_standing:
        yield "a call was made that nobody had approved", told


def _keys(arrivals: Iterable[Arrival]) -> Found:
    keys: dict[str, set[str | None]] = defaultdict(set)
    for arrival in arrivals:
        if EFFECTS[arrival.tool] == "idempotent":
            keys[arrival.argument].add(arrival.key)
    for argument, used in keys.items():
        if len(used) > 1 or None in used:
            yield "a repetition came under another key", f"{argument}: {used}"
    for key, count in Counter(key for used in keys.values() for key in used).items():
        if count > 1:
            yield "two calls came under one key", f"{key}: {count}"


def _recorded(came: dict[str, list[Arrival]], made: Iterable[MadeFact]) -> Found:
    """Nothing arrives of which no step tells, and no step makes more than one call."""
    steps = Counter(step.argument for step in made)
    for argument, calls in came.items():
        if len(calls) > steps[argument]:
            yield (
                "a call was made without a step",
                f"{calls[0].tool} {argument}: {len(calls)} arrived, {steps[argument]} steps",
            )


def _waiting(facts: ToolFacts) -> Found:
    still_asked = {approval.turn_id for approval in facts.approvals if approval.is_open}
    for turn_id in facts.waiting:
        if turn_id not in still_asked:
            yield "a turn waits and nobody is asked", turn_id
    for approval in facts.approvals:
        if approval.is_open and approval.turn_state != "awaiting_approval":
            yield "somebody is asked and no turn waits", f"{approval}"
    for step_id, count in Counter(approval.step_id for approval in facts.approvals).items():
        if count > 1:
            yield "two approvals allow one step", f"{step_id}: {count}"
