"""Repetitions: a call with an idempotency key that was used gets the first answer, and does nothing."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import asyncpg
import msgspec

from api.session import ids
from api.store import rows
from api.store.base import Base, Caller, Idempotency, Replay, StoredAnswer
from api.store.errors import KeyReused, NotFound, RequestInFlight
from db import keys
from db.pool import Connection, retry_serialization

_Answer = TypeVar("_Answer", StoredAnswer, StoredAnswer | None)


class Replaying(Base):
    """What the parts of the store that take idempotency keys share."""

    async def _replay(
        self, conn: Connection, caller: Caller, idempotency: Idempotency | None
    ) -> Replay | None:
        if idempotency is None:
            return None
        stored = await keys.find(conn, caller.organization_id, idempotency.key)
        if stored is None:
            return None
        if stored.fingerprint != idempotency.fingerprint:
            raise KeyReused(idempotency.key)
        if stored.turn_id is not None:
            assert stored.base_revision is not None
            turn_id = ids.to_wire(ids.Kind.TURN, stored.turn_id)
            return Replay(turn_id=turn_id, base_revision=stored.base_revision)
        answer = rows.stored_answer(stored)
        if answer is None:
            # The session that the first call was on, or made, has been deleted since.
            raise NotFound("session")
        return Replay(answer=answer)

    async def _write_once(
        self,
        caller: Caller,
        write: Callable[[Connection], Awaitable[_Answer]],
        *,
        idempotency: Idempotency | None,
        at: datetime,
        session_id: UUID | None = None,
    ) -> _Answer | Replay:
        """Do what is on no session in one transaction with its key, unless that was done before.

        `write` answers what is kept for repetitions; with None it has done nothing and nothing is kept.
        With a `session_id` the answer is kept no longer than that session, which `write` makes.
        """

        async def attempt() -> _Answer | Replay:
            async with self._pool.acquire() as conn, conn.transaction():
                replay = await self._replay(conn, caller, idempotency)
                if replay is not None:
                    return replay
                answer = await write(conn)
                if idempotency is not None and answer is not None:
                    await keys.insert(
                        conn,
                        caller.organization_id,
                        key=idempotency.key,
                        fingerprint=idempotency.fingerprint,
                        at=at,
                        status=answer.status,
                        headers=msgspec.json.encode(answer.headers),
                        answer=answer.body,
                        session_id=session_id,
                    )
                return answer

        try:
            return await retry_serialization(attempt)
        except asyncpg.LockNotAvailableError:
            raise RequestInFlight from None
        except asyncpg.UniqueViolationError as error:
            return await self._first_answer(caller, idempotency, error)

    async def _first_answer(
        self, caller: Caller, idempotency: Idempotency | None, error: asyncpg.UniqueViolationError
    ) -> Replay:
        """A call with the same key has committed while this one ran: answer as it did."""
        if error.constraint_name != "idempotency_keys_pkey":
            raise error
        async with self._pool.acquire() as conn:
            replay = await self._replay(conn, caller, idempotency)
        assert replay is not None, "the key that we collided with is committed"
        return replay
