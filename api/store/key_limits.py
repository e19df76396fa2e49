"""Limits of API keys, as the processes that serve calls share them."""

from collections.abc import Mapping
from uuid import UUID

import msgspec

from api.session import ids
from api.store.base import Base, Caller
from db import key_limits
from db.key_limits import Lot, TokensUsed

STREAM_SECONDS = 30.0
"""Time after which the streams of a process that is silent no longer count."""


class KeyLimiting(Base):
    """The part of the store that counts what keys use of their limits."""

    async def grant(self, caller: Caller, *, count_wanted: int, count_max: int) -> Lot:
        """Take some of the requests that are left of this minute, of `count_max` in all."""
        async with self._pool.acquire() as conn:
            return await key_limits.grant(
                conn,
                caller.organization_id,
                _key_of(caller),
                count_wanted=count_wanted,
                count_max=count_max,
            )

    async def tokens_used(self, caller: Caller) -> TokensUsed:
        """Sum what the ledger has of this minute for turns that the key began."""
        async with self._pool.acquire() as conn:
            return await key_limits.tokens_used(conn, caller.organization_id, _key_of(caller))

    async def take_stream(self, caller: Caller, *, holder: UUID, count: int, count_max: int) -> bool:
        """Let a process hold `count` streams of a key; False when with those of others that are too many."""
        async with self._pool.acquire() as conn:
            return await key_limits.take_stream(
                conn,
                caller.organization_id,
                _key_of(caller),
                holder=holder,
                count=count,
                count_max=count_max,
                seconds=STREAM_SECONDS,
            )

    async def hold_streams(self, held: Mapping[Caller, int], *, holder: UUID) -> None:
        """Say again how many streams a process holds of each key."""
        rows = [
            key_limits.Held(caller.organization_id, _key_of(caller), count) for caller, count in held.items()
        ]
        if rows:
            async with self._pool.acquire() as conn:
                await key_limits.hold_streams(conn, holder, rows, seconds=STREAM_SECONDS)


def _key_of(caller: Caller) -> UUID:
    row = ids.from_wire(ids.Kind.KEY, caller.actor.key_id or "")
    assert row is not None, "only keys of organizations have limits"
    return row


def bare(caller: Caller) -> Caller:
    """The key alone, whomever it acts for and whichever of its secrets was sent."""
    return msgspec.structs.replace(
        caller, actor=msgspec.structs.replace(caller.actor, on_behalf_of=None), expires_at=None
    )
