"""API keys: issued, listed, rotated and revoked, and looked up by their secrets.

A secret is a prefix and 43 random characters. It is shown once; afterwards only its SHA-256 is known, which
is enough for a secret of 256 random bits. It is found by that digest: what a comparison could give away by
its time is a part of the digest, which nobody can steer and from which nobody gets back.
"""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from api.session import ids
from api.session.document import Actor
from api.store import rows
from api.store.base import Caller, Idempotency, Replay, StoredAnswer, row_id
from api.store.errors import KeyNotInForce, NotFound
from api.store.replaying import Replaying
from api.store.scopes import Scope
from db import api_keys
from db.pool import Connection

KEY_PREFIX = "tl_"
SHOWN_CHARACTERS = 6
"""Of the random ones, so that people can tell keys apart."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """An API key as it is known after it was shown."""

    id: str
    name: str
    prefix: str
    """The first characters, so that people can tell keys apart."""
    scopes: tuple[Scope, ...]
    created_at: datetime
    created_by: Actor | None
    """None for a key that the operator made, or that was made before this was kept."""
    expires_at: datetime | None
    """When it is refused; None for a key without an end."""
    rotated_at: datetime | None
    """When its secret was last replaced."""
    previous_expires_at: datetime | None
    """Until when the secret before that one is accepted as well."""
    last_used_at: datetime | None
    """To a minute or two; None while nobody has used it."""
    revoked_at: datetime | None


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key at the only moment at which it can be seen."""

    id: str
    secret: str


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """A key with a new secret, and what is kept for repetitions: everything but the secret."""

    key: Key
    secret: str


RenderKey = Callable[[Key], StoredAnswer]
"""Makes the answer that is kept for repetitions; it is not given the secret."""


class Keys(Replaying):
    """The part of the store that keeps API keys."""

    async def issue_key(
        self,
        caller: Caller,
        *,
        name: str,
        scopes: frozenset[Scope],
        expires_at: datetime | None,
        idempotency: Idempotency | None,
        render: RenderKey,
    ) -> Issued | Replay:
        """Make a key of the caller's organization; only the answer to this very call holds its secret."""
        secret = new_secret(KEY_PREFIX)
        row = api_keys.KeyRow(
            organization_id=caller.organization_id,
            id=self._new_id(),
            name=name,
            prefix=shown(secret, KEY_PREFIX),
            scopes=_in_order(scopes),
            created_at=self._clock(),
            created_by=msgspec.json.encode(caller.actor),
            expires_at=expires_at,
            rotated_at=None,
            previous_expires_at=None,
            last_used_at=None,
            revoked_at=None,
        )
        key = _key(row)

        async def write(conn: Connection) -> StoredAnswer:
            await api_keys.create(conn, row, key_sha256=digest(secret))
            return render(key)

        result = await self._write_once(caller, write, idempotency=idempotency, at=row.created_at)
        return result if isinstance(result, Replay) else Issued(key=key, secret=secret)

    async def rotate_key(
        self,
        caller: Caller,
        key_id: str,
        *,
        overlap: timedelta,
        idempotency: Idempotency | None,
        render: RenderKey,
    ) -> Issued | Replay:
        """Give a key a new secret; the one before is accepted for as long as `overlap` says.

        Raises:
            NotFound: the organization has none of this id.
            KeyNotInForce: it is revoked or expired.
        """
        row = row_id(ids.Kind.KEY, key_id, "key")
        secret, now = new_secret(KEY_PREFIX), self._clock()
        rotated: Key | None = None

        async def write(conn: Connection) -> StoredAnswer:
            nonlocal rotated
            changed = await api_keys.rotate(
                conn,
                caller.organization_id,
                row,
                key_sha256=digest(secret),
                prefix=shown(secret, KEY_PREFIX),
                at=now,
                previous_expires_at=now + overlap,
            )
            if changed is None:
                if await api_keys.by_id(conn, caller.organization_id, row) is None:
                    raise NotFound("key")
                raise KeyNotInForce(key_id)
            rotated = _key(changed)
            return render(rotated)

        result = await self._write_once(caller, write, idempotency=idempotency, at=now)
        if isinstance(result, Replay):
            return result
        assert rotated is not None, "it was written"
        return Issued(key=rotated, secret=secret)

    async def key(self, caller: Caller, key_id: str) -> Key:
        """Read a key, in force or not.

        Raises:
            NotFound: the organization has none of this id.
        """
        row = row_id(ids.Kind.KEY, key_id, "key")
        async with self._pool.acquire() as conn:
            found = await api_keys.by_id(conn, caller.organization_id, row)
        if found is None:
            raise NotFound("key")
        return _key(found)

    async def key_page(
        self, caller: Caller, *, before: UUID | None, limit: int | None
    ) -> list[tuple[UUID, Key]]:
        """List keys, newest first, revoked ones as well."""
        async with self._pool.acquire() as conn:
            found = await api_keys.listed(conn, caller.organization_id, before=before, limit=limit)
        return [(row.id, _key(row)) for row in found]

    async def withdraw_key(self, caller: Caller, key_id: str) -> None:
        """Refuse a key from now on; one that was revoked before stays as it is.

        Raises:
            NotFound: the organization has none of this id.
        """
        await self.key(caller, key_id)
        row = row_id(ids.Kind.KEY, key_id, "key")
        async with self._pool.acquire() as conn:
            await api_keys.revoke(conn, caller.organization_id, row, at=self._clock())

    async def caller_of(self, secret: str) -> Caller | None:
        """Whose key this is; None when it is unknown, replaced, expired or revoked."""
        async with self._pool.acquire() as conn:
            found = await api_keys.find(conn, key_sha256=digest(secret), at=self._clock())
        if found is None:
            return None
        return Caller(
            organization_id=found.organization_id,
            actor=Actor(key_id=ids.to_wire(ids.Kind.KEY, found.id)),
            scopes=frozenset(map(Scope, found.scopes)),
            expires_at=found.expires_at,
        )

    async def record_uses(self, used: Mapping[Caller, datetime]) -> None:
        """Write when keys were last used; it is known to the minute."""
        uses = [
            api_keys.Use(organization_id=caller.organization_id, key_id=key_id, at=at)
            for caller, at in used.items()
            if (key_id := ids.from_wire(ids.Kind.KEY, caller.actor.key_id or "")) is not None
        ]
        if uses:
            async with self._pool.acquire() as conn:
                await api_keys.record_uses(conn, uses)


def new_secret(prefix: str) -> str:
    """Make up a secret of 256 random bits."""
    return prefix + secrets.token_urlsafe(32)


def shown(secret: str, prefix: str) -> str:
    """The first characters of a secret, by which people tell keys apart."""
    return secret[: len(prefix) + SHOWN_CHARACTERS]


def digest(secret: str) -> bytes:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def _in_order(scopes: frozenset[Scope]) -> list[str]:
    return [scope.value for scope in Scope if scope in scopes]


def _key(row: api_keys.KeyRow) -> Key:
    return Key(
        id=ids.to_wire(ids.Kind.KEY, row.id),
        name=row.name,
        prefix=row.prefix,
        scopes=tuple(scope for scope in Scope if scope.value in row.scopes),
        created_at=row.created_at,
        created_by=None if row.created_by is None else rows.actor(row.created_by),
        expires_at=row.expires_at,
        rotated_at=row.rotated_at,
        previous_expires_at=row.previous_expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )
