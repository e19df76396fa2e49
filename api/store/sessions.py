"""The commands on sessions, each carried out as `commit` says: under a revision check, in one transaction."""

from typing import Any
from uuid import UUID

import msgspec

from api.events import Notice
from api.session import commands, ids
from api.session.commands import IfActive
from api.session.document import AgentRef, Change
from api.session.errors import MetadataTooLarge
from api.session.merge_patch import merge_patch
from api.store import rows
from api.store.base import Caller, Done, Idempotency, Render, Replay
from api.store.commit import Committing, Found
from db import futures, sessions, turns


class Sessions(Committing):
    """Create, append, update, rewind, restore, regenerate, retry, cancel, end, fork, erase."""

    async def create_session(
        self,
        caller: Caller,
        *,
        agent: AgentRef,
        greeting: str | None,
        greeting_is_generated: bool,
        speaker: str,
        name: str | None,
        context: dict[str, Any],
        metadata: dict[str, Any],
        idempotency: Idempotency | None,
        render: Render,
    ) -> Done | Replay:
        """Open a session with a published version of an agent; a fixed greeting is said at once.

        Raises:
            KeyReused: the idempotency key belongs to another request.
        """
        made = commands.create(
            session_id=self._wire_id(ids.Kind.SESSION),
            agent=agent,
            name=name,
            context=context,
            metadata=metadata,
            now=self._clock(),
            actor=caller.actor,
            greeting=self._greeting(greeting, is_generated=greeting_is_generated, speaker=speaker),
        )
        return await self._create(caller, made, idempotency=idempotency, render=render)

    async def fork(
        self,
        caller: Caller,
        session_id: str,
        *,
        turn_id: str,
        expected: int | None,
        idempotency: Idempotency | None,
        render: Render,
    ) -> Done | Replay:
        """Open a session that begins with copies of the turns up to and with one turn of the line.

        Raises:
            NotFound: there is no such session or turn.
            RevisionConflict: an expected revision was given and is not the session's.
            TurnNotOnLine, TurnUnfinished: from the core.
        """
        # One snapshot: a deletion in between would leave a part of the turns, or none.
        async with self._pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            found = await self._find(conn, caller, session_id)
            replay = await self._replay(conn, caller, idempotency)
            if replay is not None:
                return replay
            if expected is not None:
                await self._require_revision(conn, found, expected)
            turn = await found.reader.turn_on_line(turn_id)
            copied = await found.reader.turns(first=0, end=turn.position + 1)
        made = commands.fork(
            found.head.session,
            copied,
            session_id=self._wire_id(ids.Kind.SESSION),
            turn_ids=[self._wire_id(ids.Kind.TURN) for _ in copied],
            context=msgspec.json.decode(found.context),
            metadata=msgspec.json.decode(found.metadata),
            now=self._clock(),
            actor=caller.actor,
        )
        return await self._create(caller, made, idempotency=idempotency, render=render)

    async def append(
        self,
        caller: Caller,
        session_id: str,
        *,
        text: str,
        speaker: str | None,
        if_active: IfActive,
        expected: int | None,
        idempotency: Idempotency | None,
    ) -> Done | Replay:
        """Add a pending turn with the user's words. `expected` of None takes whatever revision is found.

        Raises:
            NotFound, RevisionConflict, KeyReused, RequestInFlight: nothing was changed.
            CommandRefused: from the core.
        """
        turn_id = self._wire_id(ids.Kind.TURN)

        async def prepare(found: Found) -> Change:
            session = found.head.session
            is_behind = 0 < session.cursor < session.turn_count
            return commands.append(
                found.head,
                turn_id=turn_id,
                text=text,
                speaker=speaker,
                now=self._clock(),
                actor=caller.actor,
                if_active=if_active,
                line=await found.reader.line(down_to=session.cursor - 1) if is_behind else None,
                partial=found.partial,
            )

        return await self._change(
            caller,
            session_id,
            prepare,
            expected=expected,
            revokes=if_active is IfActive.INTERRUPT,
            idempotency=idempotency,
            turn_id=turn_id,
        )

    async def update(
        self,
        caller: Caller,
        session_id: str,
        *,
        name: str | msgspec.UnsetType | None,
        metadata: dict[str, Any] | msgspec.UnsetType | None,
        metadata_bytes_max: int,
        expected: int | None,
        is_whole: bool = False,
    ) -> Done | Replay:
        """Rename, and apply a merge patch to the metadata: None empties it, UNSET leaves it alone.

        Raises:
            MetadataTooLarge: what the patch makes is over the limit.
        """

        async def prepare(found: Found) -> Change:
            merged: dict[str, Any] | None = None
            if metadata is None:
                merged = {}
            elif metadata is not msgspec.UNSET:
                merged = merge_patch(msgspec.json.decode(found.metadata), metadata)
            change = commands.update(
                found.head, now=self._clock(), actor=caller.actor, name=name, metadata=merged
            )
            size_bytes = 0 if merged is None else len(msgspec.json.encode(merged))
            if size_bytes > metadata_bytes_max:
                raise MetadataTooLarge(size_bytes=size_bytes, bytes_max=metadata_bytes_max)
            return change

        return await self._change(
            caller, session_id, prepare, expected=expected, judges_header=True, is_whole=is_whole
        )

    async def rewind(
        self,
        caller: Caller,
        session_id: str,
        *,
        turn_id: str | None,
        expected: int | None,
        idempotency: Idempotency | None,
        render: Render,
        is_whole: bool = False,
    ) -> Done | Replay:
        """Move the cursor behind a turn of the line, or to the start for `turn_id` of None."""

        async def prepare(found: Found) -> Change:
            to = 0 if turn_id is None else (await found.reader.turn_on_line(turn_id)).position + 1
            node, variables = await found.reader.standing(end=to)
            return commands.rewind(
                found.head,
                to=to,
                now=self._clock(),
                actor=caller.actor,
                node=node,
                variables=variables,
                partial=found.partial,
            )

        return await self._change(
            caller,
            session_id,
            prepare,
            expected=expected,
            revokes=True,
            idempotency=idempotency,
            render=render,
            is_whole=is_whole,
        )

    async def restore(
        self,
        caller: Caller,
        session_id: str,
        *,
        ordinal: int,
        expected: int | None,
        idempotency: Idempotency | None,
        render: Render,
        is_whole: bool = False,
    ) -> Done | Replay:
        """Bring a discarded future back; what it displaces becomes a new one."""

        async def prepare(found: Found) -> Change:
            scope = (found.conn, caller.organization_id, found.id)
            restorable = await futures.restorable(*scope, before=None, limit=None)
            wanted = next((future for future in restorable if future.ordinal == ordinal), None)
            node, variables = None, None
            if wanted is not None:
                node, variables = await found.reader.standing(
                    end=wanted.line_count, branch=wanted.branch, line_count=wanted.line_count
                )
            return commands.restore(
                found.head,
                ordinal=ordinal,
                futures=[rows.future(row) for row in restorable],
                branches=rows.branches(await turns.branches(*scope)),
                now=self._clock(),
                actor=caller.actor,
                node=node,
                variables=variables,
                partial=found.partial,
            )

        return await self._change(
            caller,
            session_id,
            prepare,
            expected=expected,
            revokes=True,
            idempotency=idempotency,
            render=render,
            is_whole=is_whole,
        )

    async def regenerate(
        self,
        caller: Caller,
        session_id: str,
        *,
        turn_id: str,
        text: str | None,
        expected: int | None,
        idempotency: Idempotency | None,
    ) -> Done | Replay:
        """Discard a turn and what follows, and run its message again, or `text` in its place."""
        new_turn_id = self._wire_id(ids.Kind.TURN)

        async def prepare(found: Found) -> Change:
            turn = await found.reader.turn(turn_id)
            node, variables = await found.reader.standing(end=turn.position)
            return commands.regenerate(
                found.head,
                turn=turn,
                turn_id=new_turn_id,
                text=text,
                now=self._clock(),
                actor=caller.actor,
                line=await found.reader.line(down_to=max(turn.position - 1, 0)),
                node=node,
                variables=variables,
                partial=found.partial,
            )

        return await self._change(
            caller,
            session_id,
            prepare,
            expected=expected,
            revokes=True,
            idempotency=idempotency,
            turn_id=new_turn_id,
        )

    async def retry(
        self,
        caller: Caller,
        session_id: str,
        *,
        turn_id: str,
        expected: int | None,
        idempotency: Idempotency | None,
    ) -> Done | Replay:
        """Run the last turn in effect again, which failed or was cancelled."""
        new_turn_id = self._wire_id(ids.Kind.TURN)

        async def prepare(found: Found) -> Change:
            turn = await found.reader.turn(turn_id)
            node, variables = await found.reader.standing(end=turn.position)
            return commands.retry(
                found.head,
                turn=turn,
                turn_id=new_turn_id,
                now=self._clock(),
                actor=caller.actor,
                line=await found.reader.line(down_to=max(turn.position - 1, 0)),
                node=node,
                variables=variables,
                partial=found.partial,
            )

        return await self._change(
            caller,
            session_id,
            prepare,
            expected=expected,
            revokes=True,
            idempotency=idempotency,
            turn_id=new_turn_id,
        )

    async def cancel(
        self,
        caller: Caller,
        session_id: str,
        *,
        turn_id: str,
        expected: int | None,
        idempotency: Idempotency | None,
        render: Render,
        is_whole: bool = False,
    ) -> Done | Replay:
        """Cancel an unfinished turn; the turn id is the precondition, a revision is checked only if given.

        Raises:
            AlreadyCancelled: nothing was left to do.
        """

        async def prepare(found: Found) -> Change:
            turn = await found.reader.turn(turn_id)
            is_active = turn.id == found.head.session.active_turn_id
            return commands.cancel(
                found.head,
                turn=turn,
                now=self._clock(),
                actor=caller.actor,
                partial=found.partial if is_active else None,
            )

        return await self._change(
            caller,
            session_id,
            prepare,
            expected=expected,
            revokes=True,
            idempotency=idempotency,
            render=render,
            is_whole=is_whole,
        )

    async def end(
        self,
        caller: Caller,
        session_id: str,
        *,
        resolution: str | None,
        expected: int | None,
        idempotency: Idempotency | None,
        render: Render,
        is_whole: bool = False,
    ) -> Done | Replay:
        """End the session; an active turn is cancelled first."""

        async def prepare(found: Found) -> Change:
            return commands.end(
                found.head,
                resolution=resolution,
                now=self._clock(),
                actor=caller.actor,
                partial=found.partial,
            )

        return await self._change(
            caller,
            session_id,
            prepare,
            expected=expected,
            revokes=True,
            idempotency=idempotency,
            render=render,
            is_whole=is_whole,
        )

    async def find_replay(self, caller: Caller, session_id: str, idempotency: Idempotency) -> Replay | None:
        """Look for the first answer of a call that cannot be carried out for want of a revision.

        Raises:
            NotFound: there is no such session.
            KeyReused: the idempotency key belongs to another request.
        """
        async with self._pool.acquire() as conn:
            await self._find(conn, caller, session_id)
            return await self._replay(conn, caller, idempotency)

    async def erase(self, caller: Caller, session_id: str, *, expected: int | None) -> None:
        """Remove a session's text for good; ledger, totals and a tombstone stay.

        Raises:
            NotFound, RevisionConflict, RequestInFlight: nothing was changed.
        """

        async def attempt() -> UUID:
            async with self._pool.acquire() as conn, conn.transaction():
                found = await self._find(conn, caller, session_id, is_locking=True)
                if expected is not None:
                    await self._require_revision(conn, found, expected)
                is_erased = await sessions.erase(
                    conn,
                    caller.organization_id,
                    found.id,
                    revision=found.head.session.revision,
                    at=self._clock(),
                )
                assert is_erased, "the row is locked"
                return found.id

        row = await self._retried(attempt)
        self._hub.tell(Notice(session_id=row, is_claimable=False))

    def _greeting(
        self, text: str | None, *, is_generated: bool, speaker: str
    ) -> commands.PendingGreeting | commands.FixedGreeting | None:
        if text is not None:
            return commands.FixedGreeting(turn_id=self._wire_id(ids.Kind.TURN), speaker=speaker, text=text)
        if is_generated:
            return commands.PendingGreeting(turn_id=self._wire_id(ids.Kind.TURN))
        return None
