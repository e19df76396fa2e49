"""Sessions of any length, written at once: what a conversation of 10,000 turns leaves in the database."""

from datetime import timedelta
from decimal import Decimal

import msgspec
from uuid_utils.compat import uuid7

from api.session import codec, ids
from api.session.document import Reply, StepSummary, Turn, Usage, UserMessage
from db.pool import Pool
from tests.factories import World

_INSERT = """
INSERT INTO turns (organization_id, session_id, branch, position, id, created_at, state, revision, body)
SELECT $1, $2, 0, t.position, t.id, t.created_at, 'completed', $3, t.body
  FROM unnest($4::int[], $5::uuid[], $6::timestamptz[], $7::json[]) AS t(position, id, created_at, body)
"""
_SET_HEADER = """
UPDATE sessions SET turn_count = $3, cursor = $3, document = $4 WHERE organization_id = $1 AND id = $2
"""

_REPLIES = (
    "Answer {0}. It is short.",
    "Answer {0}, with a list:\n\n- one thing\n- another thing\n- a third, which is `code`\n\nThat is all.",
    "Answer {0} takes a little longer, because it **explains** itself in a whole sentence or two, as answers "
    "do when somebody has asked for reasons and not only for facts.",
    "Answer {0}:\n\n```python\ndef answer():\n    return {0}\n```",
)


async def long_session(pool: Pool, world: World, turn_count: int, *, name: str = "A long one") -> str:
    """Make a session with this many completed turns, and give its id."""
    # With a greeting, so that no runner has anything to do with it.
    made = (await world.session(name=name, greeting="Hello.")).session
    delta = await world.store.reading.since(world.caller, made.id, 0)
    (first,) = delta.turns
    turns = [_turn(first, position) for position in range(1, turn_count)]
    row = ids.from_wire(ids.Kind.SESSION, made.id)
    session = msgspec.structs.replace(delta.session, turn_count=turn_count, cursor=turn_count)
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute(
            _INSERT,
            world.caller.organization_id,
            row,
            first.revision,
            [turn.position for turn in turns],
            [ids.from_wire(ids.Kind.TURN, turn.id) for turn in turns],
            [turn.created_at for turn in turns],
            [codec.encode_turn(turn) for turn in turns],
        )
        document = codec.encode_session(session)
        await conn.execute(_SET_HEADER, world.caller.organization_id, row, turn_count, document)
    return made.id


def _turn(first: Turn, position: int) -> Turn:
    """A turn as a scripted model would have answered it."""
    at = first.created_at + timedelta(milliseconds=position)
    usage = Usage(input_tokens=40 + position % 50, output_tokens=12, cost=Decimal("0.0003"))
    step = StepSummary(
        id=ids.to_wire(ids.Kind.STEP, uuid7()),
        kind="model",
        outcome="completed",
        model="scripted:echo",
        started_at=at,
        latency_ms=200 + position % 300,
        usage=usage,
    )
    return msgspec.structs.replace(
        first,
        id=ids.to_wire(ids.Kind.TURN, uuid7()),
        position=position,
        created_at=at,
        finished_at=at,
        user_message=UserMessage(text=f"Question {position + 1}"),
        replies=(
            Reply(speaker="Ada", text=_REPLIES[position % len(_REPLIES)].format(position + 1), created_at=at),
        ),
        steps=(step,),
        usage=usage,
    )
