"""Organizations, and their API keys as the operator of the installation keeps them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from api.session import ids
from api.session.document import Actor
from api.store.base import NO_LIMITS, Caller, KeyLimits, StoredAnswer, row_id
from api.store.errors import NotFound
from api.store.installation import INSTALLATION_KEY_PREFIX, Installation
from api.store.keys import Issued, Key, Keys, NewKey
from api.store.prices import Price, row_of
from api.store.scopes import ALL_SCOPES, Scope
from db import api_keys, installation_keys, prices


class Access(Keys, Installation):
    """The part of the store that keeps organizations and keys, as callers and as the operator know them."""

    async def create_key(
        self,
        organization_id: str,
        *,
        name: str,
        scopes: frozenset[Scope] = ALL_SCOPES,
        expires_at: datetime | None = None,
        limits: KeyLimits = NO_LIMITS,
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
            limits=limits,
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
        return await self.acting_for(organization_id, Actor(process="system"))

    async def acting_for(self, organization_id: str, actor: Actor) -> Caller:
        """Act for an organization as somebody from outside it: the operator, a key of the installation.

        Raises:
            NotFound: there is no such organization.
        """
        await self.organization(organization_id)
        row = row_id(ids.Kind.ORGANIZATION, organization_id, "organization")
        return Caller(organization_id=row, actor=actor)

    async def known_caller(self, secret: str) -> Caller | None:
        """Whose key this is, of an organization or of the installation; None when it opens nothing."""
        if secret.startswith(INSTALLATION_KEY_PREFIX):
            return await self.installation_caller_of(secret)
        return await self.caller_of(secret)

    async def record_uses(self, used: Mapping[Caller, datetime]) -> None:
        """Write when keys were last used; it is known to the minute."""
        of_organizations, of_installation = [], []
        for caller, at in used.items():
            wire_id = caller.actor.key_id or ""
            if (key := ids.from_wire(ids.Kind.KEY, wire_id)) is not None:
                of_organizations.append(api_keys.Use(caller.organization_id, key, at))
            elif (key := ids.from_wire(ids.Kind.INSTALLATION_KEY, wire_id)) is not None:
                of_installation.append((key, at))
        if used:
            async with self._pool.acquire() as conn:
                await api_keys.record_uses(conn, of_organizations)
                await installation_keys.record_uses(conn, of_installation)

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
