"""The store's commands on a real Postgres: what is written, what a refusal leaves, what a conflict says."""

from typing import Any

import msgspec
import pytest

from api.session.conflicts import Advice
from api.session.document import TurnState
from api.session.errors import SessionEnded, TurnActive, UnknownFuture
from api.store import RevisionConflict
from db import events, turns
from db.pool import Pool
from tests.factories import delta_of, make_world, rendered


async def test_a_conversation_is_appended_answered_and_read_back(pool: Pool) -> None:
    world = await make_world(pool)
    created = await world.session(context={"b": 1, "a": 2}, greeting="Welcome.")

    appended = await world.append(created.session.id, 2, "What is new?")
    await world.answer("Everything.")

    document = await world.store.reading.document(world.caller, created.session.id)
    assert appended.session.revision == 3
    assert document.session.revision == 4
    assert [turn.state for turn in document.turns] == [TurnState.COMPLETED, TurnState.COMPLETED]
    assert document.turns[1].replies[0].text == "Everything."
    assert bytes(document.context) == b'{"b":1,"a":2}'
    assert document.is_complete


async def test_a_stale_write_is_refused_and_told_what_changed(pool: Pool) -> None:
    world = await make_world(pool)
    session = (await world.session()).session
    await world.append(session.id, 1)

    with pytest.raises(RevisionConflict) as refused:
        await world.append(session.id, 1, "Too late")

    assert (refused.value.expected, refused.value.actual) == (1, 2)
    assert [change.revision for change in refused.value.changes] == [2]
    assert refused.value.advice is Advice.REBASE
    assert (await world.store.reading.revision(world.caller, session.id)) == 2


async def test_rewind_then_append_discards_a_future_that_can_be_restored(pool: Pool) -> None:
    world = await make_world(pool)
    before = await world.conversation(4)
    session_id, second = before.session.id, before.turns[1]

    rewound = delta_of(
        await world.store.sessions.rewind(
            world.caller, session_id, turn_id=second.id, expected=9, idempotency=None, render=rendered
        )
    )
    appended = await world.append(session_id, 10, "Another way")
    await world.answer("So be it.")
    restored = delta_of(
        await world.store.sessions.restore(
            world.caller, session_id, ordinal=1, expected=12, idempotency=None, render=rendered
        )
    )

    assert (rewound.session.cursor, rewound.session.turn_count) == (2, 4)
    assert (appended.session.cursor, appended.session.turn_count, appended.line_from) == (3, 3, 2)
    assert (restored.session.cursor, restored.line_from) == (4, 2)
    assert restored.turns == before.turns[2:]
    document = await world.store.reading.document(world.caller, session_id)
    assert document.turns == before.turns
    assert [future.ordinal for future in document.discarded_futures] == [2]


async def test_a_refused_command_changes_nothing(pool: Pool) -> None:
    world = await make_world(pool)
    session = (await world.session()).session
    await world.append(session.id, 1)
    before = await world.store.reading.document(world.caller, session.id)

    with pytest.raises(TurnActive):
        await world.append(session.id, 2)
    with pytest.raises(UnknownFuture):
        await world.store.sessions.restore(
            world.caller, session.id, ordinal=1, expected=2, idempotency=None, render=rendered
        )

    assert await world.store.reading.document(world.caller, session.id) == before


async def test_an_ended_session_takes_no_message(pool: Pool) -> None:
    world = await make_world(pool)
    session = (await world.session()).session
    await world.append(session.id, 1)

    ended = delta_of(
        await world.store.sessions.end(
            world.caller, session.id, resolution="solved", expected=2, idempotency=None, render=rendered
        )
    )

    assert ended.turns[0].state is TurnState.CANCELLED
    with pytest.raises(SessionEnded):
        await world.append(session.id, 3)


async def test_a_rename_behind_another_rename_is_advised_to_look_first(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id

    async def rename(name: str) -> object:
        return await world.store.sessions.update(
            world.caller,
            session_id,
            name=name,
            metadata=msgspec.UNSET,
            metadata_bytes_max=100,
            expected=1,
        )

    await rename("The first tab's")
    with pytest.raises(RevisionConflict) as refused:
        await rename("The second tab's")
    with pytest.raises(RevisionConflict) as refused_message:
        await world.append(session_id, 1)

    assert refused.value.advice is Advice.REBASE
    assert refused_message.value.advice is Advice.RESUBMIT


async def test_a_conflict_tells_no_change_behind_the_revision_that_it_names(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    await world.append(session_id, 1)
    after = events.after

    async def overtaken(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(events, "after", after)
        await world.answer()
        return await after(*args, **options)

    monkeypatch.setattr(events, "after", overtaken)
    with pytest.raises(RevisionConflict) as refused:
        await world.append(session_id, 1)

    assert (refused.value.actual, [change.revision for change in refused.value.changes]) == (2, [2])


async def test_a_fork_beside_a_deletion_copies_the_turns_as_they_were(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(pool)
    before = await world.conversation(2)
    session_id = before.session.id
    on_line = turns.on_line

    async def overtaken(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(turns, "on_line", on_line)
        await world.store.sessions.erase(world.caller, session_id, expected=None)
        return await on_line(*args, **options)

    monkeypatch.setattr(turns, "on_line", overtaken)
    forked = delta_of(
        await world.store.sessions.fork(
            world.caller,
            session_id,
            turn_id=before.turns[1].id,
            expected=None,
            idempotency=None,
            render=rendered,
        )
    )

    assert [turn.replies for turn in forked.turns] == [turn.replies for turn in before.turns]
