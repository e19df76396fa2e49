"""Entries of the ledger one by one, and their corrections by people."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from uuid import UUID

import asyncpg
import msgspec

from api.session import ids
from api.store.base import Caller, Idempotency, Replay, StoredAnswer, row_id
from api.store.errors import Inconsistent, NotFound, NothingToCorrect, RequestInFlight
from api.store.ledger import UsageEntry, usage_entry
from api.store.replaying import Replaying
from db import corrections, keys
from db.pool import Connection, retry_serialization
from db.usage import EntryRow

METERS = ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")


class Corrected(msgspec.Struct, frozen=True, kw_only=True):
    """What is right of a call, whatever the ledger says of it so far. None leaves a figure as it stands."""

    reason: str
    input_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: Decimal | None = None


class Net(msgspec.Struct, frozen=True, kw_only=True):
    """What a call comes to, its corrections counted in."""

    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost: Decimal | None
    """None while no cost is known."""


class EntryChain(msgspec.Struct, frozen=True, kw_only=True):
    """An entry and all its corrections, in order."""

    entry: UsageEntry
    corrections: tuple[UsageEntry, ...]
    net: Net


class Corrections(Replaying):
    """The part of the store that corrects the ledger."""

    async def entry(self, caller: Caller, entry_id: str) -> EntryChain:
        """Read an entry with its corrections; of a correction, itself alone.

        Raises:
            NotFound: the organization has no such entry.
        """
        row = row_id(ids.Kind.USAGE, entry_id, "usage entry")
        async with self._pool.acquire() as conn:
            found = await corrections.chain(conn, caller.organization_id, row)
        if not found:
            raise NotFound("usage entry")
        return EntryChain(
            entry=usage_entry(found[0]),
            corrections=tuple(usage_entry(entry) for entry in found[1:]),
            net=_net(found),
        )

    async def correct(
        self,
        caller: Caller,
        entry_id: str,
        corrected: Corrected,
        *,
        idempotency: Idempotency | None,
        render: Callable[[UsageEntry], StoredAnswer],
    ) -> StoredAnswer | Replay:
        """Add a row of differences, so that the call comes to what is right.

        An entry that is itself a correction is corrected by correcting its original.

        Raises:
            NotFound: the organization has no such entry, or it is a correction.
            NothingToCorrect: the ledger says so already.
            Inconsistent: cached tokens beyond input, or reasoning beyond output.
            KeyReused: the idempotency key belongs to another request.
        """
        row = row_id(ids.Kind.USAGE, entry_id, "usage entry")

        async def attempt() -> StoredAnswer | Replay:
            async with self._pool.acquire() as conn, conn.transaction():
                found = await corrections.chain(conn, caller.organization_id, row)
                if not found or found[0].corrects_id is not None:
                    raise NotFound("usage entry")
                await corrections.lock_totals(conn, caller.organization_id, found[0].session_id)
                replay = await self._replay(conn, caller, idempotency)
                if replay is not None:
                    return replay
                # Read again: somebody may have corrected it until we held the totals.
                found = await corrections.chain(conn, caller.organization_id, row)
                answer = render(await self._insert(conn, caller, row, found, corrected))
                if idempotency is not None:
                    await keys.insert(
                        conn,
                        caller.organization_id,
                        key=idempotency.key,
                        fingerprint=idempotency.fingerprint,
                        at=self._clock(),
                        status=answer.status,
                        headers=msgspec.json.encode(answer.headers),
                        answer=answer.body,
                    )
                return answer

        try:
            return await retry_serialization(attempt)
        except asyncpg.LockNotAvailableError:
            raise RequestInFlight from None
        except asyncpg.UniqueViolationError as error:
            return await self._first_answer(caller, idempotency, error)

    async def _insert(
        self,
        conn: Connection,
        caller: Caller,
        original: UUID,
        found: Sequence[EntryRow],
        corrected: Corrected,
    ) -> UsageEntry:
        net = _net(found)
        right = {name: _or_else(getattr(corrected, name), getattr(net, name)) for name in METERS}
        if right["cached_tokens"] + right["cache_write_tokens"] > right["input_tokens"]:
            raise Inconsistent("cached_tokens", "input_tokens")
        if right["reasoning_tokens"] > right["output_tokens"]:
            raise Inconsistent("reasoning_tokens", "output_tokens")
        cost = None
        if corrected.cost is not None:
            cost = corrected.cost - (net.cost or 0)
        elif net.cost is not None:
            cost = Decimal(0)
        differences = {name: right[name] - getattr(net, name) for name in METERS}
        difference = corrections.Difference(**differences, cost=cost)
        is_made_known = net.cost is None and cost is not None
        if not any(difference) and not is_made_known:
            raise NothingToCorrect
        seq = await corrections.insert(
            conn,
            caller.organization_id,
            original,
            difference,
            corrects_known=net.cost is not None,
            entry_id=self._new_id(),
            at=self._clock(),
            number=len(found),
            by=msgspec.json.encode(caller.actor),
            reason=corrected.reason,
        )
        written = await corrections.chain(conn, caller.organization_id, original)
        assert written[-1].seq == seq, "the totals are locked"
        return usage_entry(written[-1])


def _or_else(value: int | None, default: int) -> int:
    return default if value is None else value


def _net(found: Sequence[EntryRow]) -> Net:
    known = [row.cost for row in found if row.cost is not None]
    return Net(
        **{name: sum(getattr(row, name) for row in found) for name in METERS},
        cost=sum(known, Decimal(0)) if known else None,
    )
