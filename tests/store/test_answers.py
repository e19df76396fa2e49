"""What a command answers is what a reader finds afterwards, whatever was running or queued."""

from api.session.commands import IfActive
from db.pool import Pool
from tests.factories import World, delta_of, make_world, rendered


async def on_line(world: World, session_id: str) -> list[tuple[int, str, str]]:
    document = await world.store.reading.document(world.caller, session_id)
    return [(turn.position, turn.id, turn.state) for turn in document.turns]


async def test_restoring_while_a_turn_is_active_answers_the_turns_that_are_back(pool: Pool) -> None:
    world = await make_world(pool)
    before = await world.conversation(2)
    session_id, first = before.session.id, before.turns[0]
    await world.store.sessions.rewind(
        world.caller, session_id, turn_id=first.id, expected=None, idempotency=None, render=rendered
    )
    await world.append(session_id, None, "Another way")

    restored = delta_of(
        await world.store.sessions.restore(
            world.caller, session_id, ordinal=1, expected=None, idempotency=None, render=rendered
        )
    )

    told = [(turn.position, turn.id, turn.state) for turn in restored.turns]
    assert told == (await on_line(world, session_id))[1:]


async def test_regenerating_a_queued_turn_behind_one_cancelled_alone_answers_the_line(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    await world.append(session_id, None, "Active")
    queued = [
        (await world.append(session_id, None, text, if_active=IfActive.ENQUEUE)).turns[-1].id
        for text in ("Cancelled alone", "Regenerated")
    ]
    await world.store.sessions.cancel(
        world.caller, session_id, turn_id=queued[0], expected=None, idempotency=None, render=rendered
    )

    regenerated = delta_of(
        await world.store.sessions.regenerate(
            world.caller, session_id, turn_id=queued[1], text=None, expected=None, idempotency=None
        )
    )

    told = [(turn.position, turn.id, turn.state) for turn in regenerated.turns]
    assert (regenerated.line_from, told) == (0, await on_line(world, session_id))
