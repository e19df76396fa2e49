"""A conversation whose runner is the test: it says what it is told to, piece by piece."""

import random
from uuid import UUID

from api.session.commands import IfActive
from api.session.document import Approval, Decision, Turn, TurnState
from api.store.running import Claim, Shown, turn_id_of
from db.pool import Pool
from tests.factories import World, asking, completing, rendered
from tests.store.test_races import intent, outcome

_WORDS = ("alpha ", "béta ", "日本 ", "🙂 ", "delta. ")


class Conversation:
    """One session, what was done to it, and what its turns have said."""

    def __init__(self, world: World, pool: Pool, session_id: str) -> None:
        self.world = world
        self.session_id = session_id
        self.said: dict[str, str] = {}
        """By step, what it has said and not taken back."""
        self.claim: Claim | None = None
        self._pool = pool
        self._step: UUID | None = None
        self._offset = 0
        self._is_lost = False

    @classmethod
    async def begin(cls, world: World, pool: Pool, *, greeting: str | None = None) -> "Conversation":
        """Open a session."""
        return cls(world, pool, (await world.session(greeting=greeting)).session.id)

    async def append(self, if_active: IfActive = IfActive.REJECT) -> str:
        """Say something; answers the new turn's id."""
        delta = await self.world.append(self.session_id, None, if_active=if_active)
        if if_active is IfActive.INTERRUPT:
            self.claim = None
        return delta.turns[-1].id

    async def take_up(self) -> Claim:
        """Claim the active turn and begin a call; what an earlier run has shown is taken back."""
        claim = await self.world.store.running.claim(runner="test", lease_seconds=15)
        assert claim is not None
        self.claim = claim
        shown = await self.world.store.running.shown(claim) if self._is_lost else ()
        self._is_lost = False
        for step_id, _ in shown:
            await self.world.store.running.take_back(claim, step_id)
            self.said[str(step_id)] = ""
        self._step = self.world.store.running.new_step_id()
        self._offset = 0
        assert await self.world.store.running.start_step(claim, intent(self._step))
        return claim

    async def say(self, text: str) -> None:
        """Show a piece of the reply."""
        assert self.claim is not None
        assert self._step is not None
        piece = Shown(
            organization_id=self.claim.organization_id,
            session_id=self.claim.session_id,
            run_id=self.claim.run_id,
            step_id=self._step,
            offset=self._offset,
            text=text,
        )
        assert await self.world.store.running.show([piece]) == {self.claim.run_id}
        self._offset += len(text)
        self.said[str(self._step)] = self.said.get(str(self._step), "") + text

    async def lose(self) -> None:
        """The runner is gone: its lease has run out."""
        await self._pool.execute("UPDATE runs SET lease_expires_at = now() - interval '1 second'")
        self.claim = None
        self._is_lost = True

    async def complete(self) -> None:
        """Publish what was said."""
        assert self.claim is not None
        assert self._step is not None
        text = self.said.get(str(self._step)) or "Nothing shown."
        await self.world.store.running.settle(self.claim, self._step, outcome())
        assert await self.world.store.running.publish(self.claim, completing(self.claim, text))
        self.claim = None

    async def park(self, count: int = 1) -> tuple[Approval, ...]:
        """Have the running turn wait for people."""
        assert self.claim is not None
        assert self._step is not None
        await self.world.store.running.settle(self.claim, self._step, outcome())
        approvals = tuple(self.world.approval(number) for number in range(count))
        assert await self.world.store.running.publish(self.claim, asking(self.claim, *approvals))
        self.claim = None
        return approvals

    async def cancel(self, turn_id: str | None = None) -> Turn:
        """Cancel the running turn, or another; answers what is kept of it."""
        if turn_id is None:
            assert self.claim is not None
            turn_id, self.claim = turn_id_of(self.claim), None
        sessions, caller = self.world.store.sessions, self.world.caller
        await sessions.cancel(
            caller, self.session_id, turn_id=turn_id, expected=None, idempotency=None, render=rendered
        )
        return await self.world.store.reading.turn(caller, self.session_id, turn_id)

    async def rename(self) -> None:
        """Move the revision without touching a turn."""
        await self.world.store.sessions.update(
            self.world.caller,
            self.session_id,
            name="Another",
            metadata=None,
            metadata_bytes_max=1_000,
            expected=None,
        )

    async def rewind(self, turn_id: str | None) -> None:
        """Move the cursor; a running turn is cancelled."""
        self.claim = None
        await self.world.store.sessions.rewind(
            self.world.caller,
            self.session_id,
            turn_id=turn_id,
            expected=None,
            idempotency=None,
            render=rendered,
        )

    async def regenerate(self, turn_id: str) -> None:
        """Discard a turn and begin it anew; a running turn is cancelled."""
        self.claim = None
        await self.world.store.sessions.regenerate(
            self.world.caller, self.session_id, turn_id=turn_id, text=None, expected=None, idempotency=None
        )

    async def end(self) -> None:
        """End the session."""
        await self.world.store.sessions.end(
            self.world.caller,
            self.session_id,
            resolution=None,
            expected=None,
            idempotency=None,
            render=rendered,
        )


async def wander(conversation: Conversation, chance: random.Random, *, steps: int) -> None:
    """Do this many things that a person and a runner may do, at random."""
    made: list[str] = []
    for _ in range(steps):
        document = await conversation.world.store.reading.document(
            conversation.world.caller, conversation.session_id
        )
        active = document.session.active_turn_id
        waiting = [turn for turn in document.turns if turn.state is TurnState.AWAITING_APPROVAL]
        if waiting:
            kind = chance.choice(["decide", "decide", "decide", "rename", "interrupt", "cancel_active"])
        elif active is None:
            kind = chance.choice(["append", "append", "append", "rename", "rewind", "regenerate"])
        elif conversation.claim is None:
            kind = chance.choice(["take_up", "take_up", "take_up", "interrupt", "rename", "cancel_active"])
        else:
            kind = chance.choice(
                ["say"] * 8
                + ["lose", "complete", "complete", "cancel", "rename", "enqueue", "interrupt", "park", "park"]
                + ["regenerate_active", "rewind"]
            )
        match kind:
            case "append":
                made.append(await conversation.append())
            case "interrupt":
                made.append(await conversation.append(IfActive.INTERRUPT))
            case "enqueue":
                if len([turn for turn in document.turns if not turn.state.is_final]) < 3:
                    await conversation.append(IfActive.ENQUEUE)
            case "take_up":
                await conversation.take_up()
            case "say":
                await conversation.say(chance.choice(_WORDS) * chance.randint(1, 3))
            case "park":
                await conversation.park(chance.randint(1, 2))
            case "decide":
                undecided = [approval for approval in waiting[0].approvals if approval.decision is None]
                await conversation.world.decide(chance.choice(undecided), chance.choice(list(Decision)))
            case "lose":
                await conversation.lose()
            case "complete":
                await conversation.complete()
            case "cancel":
                await conversation.cancel()
            case "cancel_active":
                await conversation.cancel(active)
            case "rename":
                await conversation.rename()
            case "rewind":
                final = [turn.id for turn in document.turns if turn.state.is_final]
                await conversation.rewind(chance.choice(final) if final and chance.random() < 0.8 else None)
            case "regenerate":
                in_effect = [turn.id for turn in document.turns[: document.session.cursor]]
                if in_effect:
                    await conversation.regenerate(in_effect[-1])
            case "regenerate_active":
                assert active is not None
                await conversation.regenerate(active)
