"""Organizations, and their API keys as the operator of the installation keeps them."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from api.session import ids
from api.session.document import Actor
from api.store.base import Caller, StoredAnswer, row_id
from api.store.errors import NotFound
from api.store.keys import Issued, Key, Keys, NewKey
from api.store.prices import Price, row_of
from api.store.scopes import ALL_SCOPES, Scope
from db import organizations, prices


class Organization(msgspec.Struct, frozen=True, kw_only=True):
    """The paying customer and the boundary of every query."""

    id: str
    name: str
    created_at: datetime


class Access(Keys):
    """The part of the store that keeps organizations and keys, as callers and as the operator know them."""

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

    async def create_key(
        self,
        organization_id: str,
        *,
        name: str,
        scopes: frozenset[Scope] = ALL_SCOPES,
        expires_at: datetime | None = None,
    ) -> NewKey:
        """Make an API key as the operator; the answer is the only place where it can be seen.

        Raises:
            NotFound: there is no such organization.
        """
        issued = await self.issue_key(
            await self.operator(organization_id),
            name=name,
            scopes=scopes,
            expires_at=expires_at,
            idempotency=None,
            render=_render_nothing,
        )
        assert isinstance(issued, Issued), "without an idempotency key nothing is repeated"
        return NewKey(id=issued.key.id, secret=issued.secret)

    async def replace_key(self, organization_id: str, key_id: str, *, overlap: timedelta) -> NewKey:
        """Give a key a new secret as the operator.

        Raises:
            NotFound, KeyNotInForce: see `rotate_key`.
        """
        issued = await self.rotate_key(
            await self.operator(organization_id),
            key_id,
            overlap=overlap,
            idempotency=None,
            render=_render_nothing,
        )
        assert isinstance(issued, Issued), "without an idempotency key nothing is repeated"
        return NewKey(id=issued.key.id, secret=issued.secret)

    async def keys(self, organization_id: str) -> list[Key]:
        """List the keys of an organization, oldest first."""
        caller = await self.operator(organization_id)
        found = await self.key_page(caller, before=None, limit=None)
        return [key for _, key in reversed(found)]

    async def revoke_key(self, organization_id: str, key_id: str) -> None:
        """Refuse a key from now on.

        Raises:
            NotFound: there is no such key, or it is revoked already.
        """
        caller = await self.operator(organization_id)
        if (await self.key(caller, key_id)).revoked_at is not None:
            raise NotFound("key")
        await self.withdraw_key(caller, key_id)

    async def operator(self, organization_id: str) -> Caller:
        """Act for an organization as the operator of the installation.

        Raises:
            NotFound: there is no such organization.
        """
        row = row_id(ids.Kind.ORGANIZATION, organization_id, "organization")
        async with self._pool.acquire() as conn:
            if await organizations.by_id(conn, row) is None:
                raise NotFound("organization")
        return Caller(organization_id=row, actor=Actor(process="system"))

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


def _render_nothing(_: Key) -> StoredAnswer:
    """Make the answer for a caller who is not there."""
    return StoredAnswer(status=201, headers={}, body=b"")
