"""Node and variables follow the branch: what stands is what the turns in effect have stored, and no other."""

from typing import Any

from api.session.commands import IfActive
from api.session.document import TurnState
from api.store.base import utc_now
from api.store.running import Claim, Intent, Shown
from db.pool import Pool
from tests.factories import World, completing, make_world, rendered
from tests.store.test_races import intent


class Story:
    """One session, told turn by turn."""

    def __init__(self, world: World, session_id: str) -> None:
        self.world = world
        self.id = session_id
        self.kept: dict[str, Any] = {"expected": None, "idempotency": None}

    @classmethod
    async def begin(cls, pool: Pool) -> "Story":
        world = await make_world(pool)
        return cls(world, (await world.session()).session.id)

    async def say(self, node: str | None = None, **variables: Any) -> str:
        """A completed turn that leads to this node, with these variables, or changes neither; its id."""
        turn_id = (await self.world.append(self.id, None)).session.active_turn_id
        assert turn_id is not None
        await self.finish(node, **variables)
        return turn_id

    async def finish(self, node: str | None = None, **variables: Any) -> None:
        claim = await self.claim()
        stored = {} if node is None else {"node": node, "variables": variables}
        assert await self.world.store.running.publish(claim, completing(claim, "Hi.", **stored))

    async def claim(self) -> Claim:
        claim = await self.world.store.running.claim(runner="test", lease_seconds=15)
        assert claim is not None
        return claim

    async def rewind(self, turn_id: str | None) -> None:
        await self.world.store.sessions.rewind(
            self.world.caller, self.id, turn_id=turn_id, render=rendered, **self.kept
        )

    async def regenerate(self, turn_id: str) -> None:
        await self.world.store.sessions.regenerate(
            self.world.caller, self.id, turn_id=turn_id, text=None, **self.kept
        )

    async def restore(self, ordinal: int) -> None:
        await self.world.store.sessions.restore(
            self.world.caller, self.id, ordinal=ordinal, render=rendered, **self.kept
        )

    async def cancel(self, turn_id: str) -> None:
        await self.world.store.sessions.cancel(
            self.world.caller, self.id, turn_id=turn_id, render=rendered, **self.kept
        )

    async def standing(self) -> tuple[str, dict[str, Any]]:
        session = (await self.world.store.reading.document(self.world.caller, self.id)).session
        return session.node, session.variables


async def test_a_rewind_goes_back_to_what_stood_then(pool: Pool) -> None:
    story = await Story.begin(pool)
    first = await story.say("lobby", name="Ann")
    second = await story.say()
    await story.say("garden", name="Ann", age=3)

    stood = []
    for turn_id in (second, first, None):
        await story.rewind(turn_id)
        stood.append(await story.standing())

    assert stood == [("lobby", {"name": "Ann"}), ("lobby", {"name": "Ann"}), ("start", {})]


async def test_a_rewind_may_go_forward_again(pool: Pool) -> None:
    story = await Story.begin(pool)
    await story.say("lobby", name="Ann")
    last = await story.say("garden", name="Bea")
    await story.rewind(None)

    await story.rewind(last)

    assert await story.standing() == ("garden", {"name": "Bea"})


async def test_a_message_behind_the_cursor_knows_nothing_of_what_it_discards(pool: Pool) -> None:
    story = await Story.begin(pool)
    first = await story.say()
    await story.say("garden", secret=True)
    await story.rewind(first)

    await story.say()

    assert await story.standing() == ("start", {})


async def test_another_try_stands_where_the_first_one_began(pool: Pool) -> None:
    story = await Story.begin(pool)
    await story.say("lobby", name="Ann")
    second = await story.say("garden", name="Bea")
    await story.say("cellar", name="Cy")

    await story.regenerate(second)
    before = await story.standing()
    await story.finish("attic", name="Dee")

    assert before == ("lobby", {"name": "Ann"})
    assert await story.standing() == ("attic", {"name": "Dee"})


async def test_the_first_turn_tried_again_begins_at_the_start(pool: Pool) -> None:
    story = await Story.begin(pool)
    first = await story.say("lobby", name="Ann")

    await story.regenerate(first)

    assert await story.standing() == ("start", {})


async def test_a_restored_future_brings_back_what_stood_at_its_end(pool: Pool) -> None:
    story = await Story.begin(pool)
    first = await story.say("lobby", name="Ann")
    await story.say("garden", name="Bea")
    await story.say()
    await story.rewind(first)
    await story.say("cellar", name="Cy")
    await story.regenerate(first)
    await story.finish()

    stood = [await story.standing()]
    for ordinal in (1, 2, 3):
        await story.restore(ordinal)
        stood.append(await story.standing())

    assert stood == [
        ("start", {}),
        ("garden", {"name": "Bea"}),
        ("cellar", {"name": "Cy"}),
        ("start", {}),
    ]


async def test_a_future_without_a_node_of_its_own_stands_where_its_ancestors_stood(pool: Pool) -> None:
    story = await Story.begin(pool)
    await story.say("lobby", name="Ann")
    await story.say()
    await story.rewind(None)
    await story.say("cellar")

    await story.restore(1)

    assert await story.standing() == ("lobby", {"name": "Ann"})


async def test_many_branches_are_walked_to_their_roots(pool: Pool) -> None:
    story = await Story.begin(pool)
    await story.say("lobby", number=0)
    turns = [await story.say() for _ in range(6)]
    for turn_id in reversed(turns):
        await story.regenerate(turn_id)
        await story.finish()
        turns[turns.index(turn_id)] = (
            (await story.world.store.reading.document(story.world.caller, story.id)).turns[-1].id
        )

    last = (await story.world.store.reading.document(story.world.caller, story.id)).turns[-1].id
    await story.rewind(last)

    assert await story.standing() == ("lobby", {"number": 0})


async def test_a_retried_turn_stands_where_the_cancelled_one_began(pool: Pool) -> None:
    story = await Story.begin(pool)
    await story.say("lobby", name="Ann")
    turn_id = (await story.world.append(story.id, None)).session.active_turn_id
    assert turn_id is not None
    await moved(story, await story.claim(), "garden", name="Bea")
    await story.cancel(turn_id)
    cut_off = await story.standing()

    await story.world.store.sessions.retry(story.world.caller, story.id, turn_id=turn_id, **story.kept)

    assert cut_off == ("garden", {"name": "Bea"})
    assert await story.standing() == ("lobby", {"name": "Ann"})


async def test_a_cancelled_turn_stands_where_its_newest_finished_step_led(pool: Pool) -> None:
    story = await Story.begin(pool)
    turn_id = (await story.world.append(story.id, None)).session.active_turn_id
    assert turn_id is not None
    claim = await story.claim()
    await moved(story, claim, "lobby", name="Ann")
    await moved(story, claim, "garden", name="Bea")
    await moved(story, claim, "cellar", state="failed")
    await story.world.append(story.id, None, if_active=IfActive.INTERRUPT)

    turn = await story.world.store.reading.turn(story.world.caller, story.id, turn_id)
    assert (turn.state, turn.node, turn.variables) == (TurnState.CANCELLED, "garden", {"name": "Bea"})
    assert await story.standing() == ("garden", {"name": "Bea"})


async def test_a_cancelled_turn_keeps_the_text_of_all_its_steps_in_order(pool: Pool) -> None:
    story = await Story.begin(pool)
    turn_id = (await story.world.append(story.id, None)).session.active_turn_id
    assert turn_id is not None
    claim, running = await story.claim(), story.world.store.running
    spoken = []
    for text in ("One moment. ", "(taken back)", "You are through."):
        step_id = running.new_step_id()
        assert await running.start_step(claim, intent(step_id))
        piece = Shown(
            organization_id=claim.organization_id,
            session_id=claim.session_id,
            run_id=claim.run_id,
            step_id=step_id,
            offset=0,
            text=text,
        )
        assert await running.show([piece])
        if text.startswith("("):
            await running.take_back(claim, step_id)
        else:
            spoken.append((step_id, text))
    shown = await running.shown(claim)

    await story.cancel(turn_id)

    turn = await story.world.store.reading.turn(story.world.caller, story.id, turn_id)
    assert shown == tuple(spoken)
    assert [(reply.text, reply.truncated) for reply in turn.replies] == [
        ("One moment. You are through.", True)
    ]


async def test_a_fork_copies_where_its_turns_stood(pool: Pool) -> None:
    story = await Story.begin(pool)
    first = await story.say("lobby", name="Ann")
    await story.say("garden")
    forked = await story.world.store.sessions.fork(
        story.world.caller, story.id, turn_id=first, render=rendered, **story.kept
    )
    other = Story(story.world, forked.delta.session.id)  # type: ignore[union-attr]  # no repetition
    await other.say("cellar")

    copied = (await story.world.store.reading.document(story.world.caller, other.id)).turns[0].id
    await other.rewind(copied)

    assert await other.standing() == ("lobby", {"name": "Ann"})


async def test_each_turn_is_told_with_what_it_began_with_on_the_line_and_off_it(pool: Pool) -> None:
    story = await Story.begin(pool)
    first = await story.say("lobby", name="Ann")
    unchanged = await story.say()
    left = await story.say("garden", name="Bea")
    later = await story.say()
    await story.rewind(first)
    instead = await story.say("cellar", name="Cy")
    last = await story.say()

    async def before(turn_id: str) -> tuple[str, dict[str, Any]]:
        reading = story.world.store.reading
        turn, *standing = await reading.turn_in_place(story.world.caller, story.id, turn_id)
        assert turn.id == turn_id
        return standing[0], standing[1]

    ann = ("lobby", {"name": "Ann"})
    assert await before(first) == ("start", {})
    assert (await before(unchanged), await before(left), await before(instead)) == (ann, ann, ann)
    assert await before(later) == ("garden", {"name": "Bea"})
    assert await before(last) == ("cellar", {"name": "Cy"})


async def moved(story: Story, claim: Claim, node: str, *, state: str = "completed", **variables: Any) -> None:
    """A transition, as the turn loop records it."""
    running = story.world.store.running
    step_id = running.new_step_id()
    transition = Intent(
        id=step_id,
        kind="tool",
        purpose="transition",
        speaker="Ada",
        started_at=utc_now(),
        request={"tool": f"to_{node}", "effect": "read"},
    )
    assert await running.start_step(claim, transition)
    result = {"standing": {"node": node, "variables": variables}}
    assert await running.end_tool_step(claim, step_id, state, result)
