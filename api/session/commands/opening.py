"""How a session begins: created anew, or as a fork of another."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from api.session import errors
from api.session.document import (
    Actor,
    AgentRef,
    Creation,
    Effect,
    Event,
    EventType,
    Reply,
    Session,
    SessionState,
    Turn,
    TurnState,
)
from api.session.invariants import require


class PendingGreeting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The agent speaks first, in words that a model will find: the first turn is pending."""

    turn_id: str


class FixedGreeting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The agent speaks first, in words that its definition fixes: the first turn is completed at once."""

    turn_id: str
    speaker: str
    text: str


def create(
    *,
    session_id: str,
    agent: AgentRef,
    name: str | None,
    context: dict[str, Any],
    metadata: dict[str, Any],
    now: datetime,
    actor: Actor,
    greeting: PendingGreeting | FixedGreeting | None = None,
) -> Creation:
    """Open a session: revision 1, or revision 2 when the agent greets."""
    session = Session(
        id=session_id,
        revision=1,
        state=SessionState.OPEN,
        agent=agent,
        name=name,
        created_at=now,
        updated_at=now,
    )
    created = Event(
        revision=1,
        type=EventType.SESSION_CREATED,
        at=now,
        actor=actor,
        effects=(Effect(type=EventType.SESSION_CREATED),),
        line_from=None,
    )
    if greeting is None:
        return Creation(session=session, context=context, metadata=metadata, events=(created,))

    turn = _greeting_turn(greeting, now=now, actor=actor)
    is_active = not turn.state.is_final
    effects = [Effect(type=EventType.TURN_CREATED, turn_id=turn.id)]
    if not is_active:
        effects.append(Effect(type=EventType.TURN_COMPLETED, turn_id=turn.id))
    greeted = Event(
        revision=2, type=effects[-1].type, at=now, actor=actor, effects=tuple(effects), line_from=0
    )
    return Creation(
        session=msgspec.structs.replace(
            session,
            revision=2,
            cursor=1,
            turn_count=1,
            unfinished_count=int(is_active),
            active_turn_id=turn.id if is_active else None,
        ),
        context=context,
        metadata=metadata,
        turns=(turn,),
        events=(created, greeted),
    )


def fork(
    source: Session,
    turns: Sequence[Turn],
    *,
    session_id: str,
    turn_ids: Sequence[str],
    context: dict[str, Any],
    metadata: dict[str, Any],
    now: datetime,
    actor: Actor,
) -> Creation:
    """Open a session that begins with copies of the first turns of another, at revision 1.

    `turns` are the first turns of a line of `source`, from position 0 up to and with the turn forked at;
    `turn_ids` name their copies. A copy keeps its words, its times and what it did to node and variables;
    it has neither steps nor approvals nor usage, because nothing was called or paid for it. The source does
    not change, and may have ended.

    Raises:
        TurnUnfinished: one of the turns is not final.
    """
    require(
        [turn.position for turn in turns] == list(range(len(turn_ids))) and len(turn_ids) > 0,
        "a fork copies the first turns of a line, each under one new id",
    )
    for turn in turns:
        if not turn.state.is_final:
            raise errors.TurnUnfinished(turn.id)

    storing = [turn for turn in turns if turn.node is not None]
    standing = {"node": storing[-1].node, "variables": storing[-1].variables} if storing else {}
    session = Session(
        id=session_id,
        revision=1,
        state=SessionState.OPEN,
        agent=source.agent,
        name=source.name,
        cursor=len(turns),
        turn_count=len(turns),
        forked_from=turns[-1].id,
        created_at=now,
        updated_at=now,
    )
    return Creation(
        session=msgspec.structs.replace(session, **standing),
        context=context,
        metadata=metadata,
        turns=tuple(_copy(turn, turn_id=new_id) for turn, new_id in zip(turns, turn_ids, strict=True)),
        events=(
            Event(
                revision=1,
                type=EventType.SESSION_CREATED,
                at=now,
                actor=actor,
                effects=(Effect(type=EventType.SESSION_CREATED),),
                line_from=0,
            ),
        ),
    )


def _greeting_turn(greeting: PendingGreeting | FixedGreeting, *, now: datetime, actor: Actor) -> Turn:
    turn = Turn(
        id=greeting.turn_id,
        branch=0,
        position=0,
        state=TurnState.PENDING,
        revision=2,
        created_at=now,
        created_by=actor,
    )
    if isinstance(greeting, PendingGreeting):
        return turn
    return msgspec.structs.replace(
        turn,
        state=TurnState.COMPLETED,
        finished_at=now,
        replies=(Reply(speaker=greeting.speaker, text=greeting.text, created_at=now),),
    )


def _copy(turn: Turn, *, turn_id: str) -> Turn:
    return msgspec.structs.replace(
        turn, id=turn_id, branch=0, revision=1, steps=(), approvals=(), usage=None, copied_from=turn.id
    )
