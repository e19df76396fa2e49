"""Organizations, and the API keys by which their callers are known.

A key is `tl_` and 43 random characters. It is shown once; afterwards only its SHA-256 is known, which is
enough for a secret of 256 random bits and lets a key be found by its digest, in constant time.
"""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime

import msgspec

from api.session import ids
from api.session.document import Actor
from api.store.base import Base, Caller, row_id
from api.store.errors import NotFound
from api.store.prices import Price, row_of
from db import organizations, prices

KEY_PREFIX = "tl_"
_SHOWN_CHARACTERS = len(KEY_PREFIX) + 6


class Organization(msgspec.Struct, frozen=True, kw_only=True):
    """The paying customer and the boundary of every query."""

    id: str
    name: str
    created_at: datetime


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """An API key as it is known after it was shown."""

    id: str
    name: str
    prefix: str
    """The first characters, so that people can tell keys apart."""
    created_at: datetime
    revoked_at: datetime | None


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key at the only moment at which it can be seen."""

    id: str
    secret: str


class Access(Base):
    """The part of the store that keeps organizations and keys."""

    async def create_organization(self, name: str) -> Organization:
        """Make an organization with an empty ledger."""
        row, now = self._new_id(), self._clock()
        async with self._pool.acquire() as conn:
            await organizations.create(conn, row, name=name, at=now)
        return Organization(id=ids.to_wire(ids.Kind.ORGANIZATION, row), name=name, created_at=now)

    async def organizations(self) -> list[Organization]:
        """List every organization, oldest first."""
        async with self._pool.acquire() as conn:
            found = await organizations.listed(conn)
        return [
            Organization(
                id=ids.to_wire(ids.Kind.ORGANIZATION, row.id), name=row.name, created_at=row.created_at
            )
            for row in found
        ]

    async def create_key(self, organization_id: str, *, name: str) -> NewKey:
        """Make an API key; the answer is the only place where it can be seen.

        Raises:
            NotFound: there is no such organization.
        """
        organization = row_id(ids.Kind.ORGANIZATION, organization_id, "organization")
        secret, row = KEY_PREFIX + secrets.token_urlsafe(32), self._new_id()
        async with self._pool.acquire() as conn:
            if organization not in {known.id for known in await organizations.listed(conn)}:
                raise NotFound("organization")
            await organizations.create_key(
                conn,
                organization,
                row,
                name=name,
                key_sha256=_digest(secret),
                prefix=secret[:_SHOWN_CHARACTERS],
                at=self._clock(),
            )
        return NewKey(id=ids.to_wire(ids.Kind.KEY, row), secret=secret)

    async def keys(self, organization_id: str) -> list[Key]:
        """List the keys of an organization, oldest first."""
        organization = row_id(ids.Kind.ORGANIZATION, organization_id, "organization")
        async with self._pool.acquire() as conn:
            found = await organizations.keys(conn, organization)
        return [
            Key(
                id=ids.to_wire(ids.Kind.KEY, row.id),
                name=row.name,
                prefix=row.prefix,
                created_at=row.created_at,
                revoked_at=row.revoked_at,
            )
            for row in found
        ]

    async def revoke_key(self, organization_id: str, key_id: str) -> None:
        """Refuse a key from now on.

        Raises:
            NotFound: there is no such key, or it is revoked already.
        """
        organization = row_id(ids.Kind.ORGANIZATION, organization_id, "organization")
        row = row_id(ids.Kind.KEY, key_id, "key")
        async with self._pool.acquire() as conn:
            if not await organizations.revoke_key(conn, organization, row, at=self._clock()):
                raise NotFound("key")

    async def caller_of(self, secret: str) -> Caller | None:
        """Whose key this is; None when it is unknown or revoked."""
        async with self._pool.acquire() as conn:
            found = await organizations.find_key(conn, key_sha256=_digest(secret))
        if found is None:
            return None
        return Caller(
            organization_id=found.organization_id, actor=Actor(key_id=ids.to_wire(ids.Kind.KEY, found.id))
        )

    async def add_prices(self, organization_id: str, rows: Sequence[Price]) -> None:
        """Add prices to an organization's own list; one that is in force is followed, never edited."""
        organization = row_id(ids.Kind.ORGANIZATION, organization_id, "organization")
        async with self._pool.acquire() as conn:
            await prices.insert(
                conn,
                organization,
                [row_of(price) for price in rows],
                at=self._clock(),
                by=msgspec.json.encode(Actor(process="system")),
            )


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
