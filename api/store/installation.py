"""The installation: its own keys, the organizations that they make, and how far every ledger has come.

A key of the installation belongs to no organization. Its caller works under the nil organization, which has
no rows, so that whatever forgets to look at the kind of a key shows it nothing.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from api.session import ids
from api.session.document import Actor
from api.store.base import INSTALLATION, Caller, Idempotency, Replay, StoredAnswer, row_id
from api.store.errors import KeyNotInForce, NotFound
from api.store.keys import NewKey, digest, new_secret, shown
from api.store.replaying import Replaying
from db import installation_keys, organizations
from db.pool import Connection

INSTALLATION_KEY_PREFIX = "tli_"


class Organization(msgspec.Struct, frozen=True, kw_only=True):
    """The paying customer and the boundary of every query."""

    id: str
    name: str
    created_at: datetime


class LedgerHead(msgspec.Struct, frozen=True, kw_only=True):
    """How far an organization's ledger has come."""

    organization_id: str
    head: int


class InstallationKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key of the installation as it is known after it was shown."""

    id: str
    name: str
    prefix: str
    created_at: datetime
    expires_at: datetime | None
    rotated_at: datetime | None
    previous_expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class Installation(Replaying):
    """The part of the store that is about the installation as a whole."""

    async def create_organization(self, name: str) -> Organization:
        """Make an organization with an empty ledger."""
        made, row = self._organization(name)
        async with self._pool.acquire() as conn:
            await organizations.create(conn, row, name=name, at=made.created_at)
        return made

    async def make_organization(
        self,
        caller: Caller,
        *,
        name: str,
        idempotency: Idempotency | None,
        render: Callable[[Organization], StoredAnswer],
    ) -> StoredAnswer | Replay:
        """Make an organization, once for an idempotency key."""
        made, row = self._organization(name)

        async def write(conn: Connection) -> StoredAnswer:
            await organizations.create(conn, row, name=name, at=made.created_at)
            return render(made)

        return await self._write_once(caller, write, idempotency=idempotency, at=made.created_at)

    async def organization(self, organization_id: str) -> Organization:
        """Read an organization.

        Raises:
            NotFound: there is none of this id.
        """
        row = row_id(ids.Kind.ORGANIZATION, organization_id, "organization")
        async with self._pool.acquire() as conn:
            found = await organizations.by_id(conn, row)
        if found is None:
            raise NotFound("organization")
        return _organization(found)

    async def organizations(self) -> list[Organization]:
        """List every organization, oldest first."""
        return [found for _, found in reversed(await self.organization_page(before=None, limit=None))]

    async def organization_page(
        self, *, before: UUID | None, limit: int | None
    ) -> list[tuple[UUID, Organization]]:
        """List organizations, newest first."""
        async with self._pool.acquire() as conn:
            found = await organizations.listed(conn, before=before, limit=limit)
        return [(row.id, _organization(row)) for row in found]

    async def ledger_heads(self, *, before: UUID | None, limit: int) -> list[tuple[UUID, LedgerHead]]:
        """Tell how far the ledgers of all organizations have come, the newest organization first."""
        async with self._pool.acquire() as conn:
            found = await organizations.heads(conn, before=before, limit=limit)
        return [
            (row, LedgerHead(organization_id=ids.to_wire(ids.Kind.ORGANIZATION, row), head=head))
            for row, head in found
        ]

    async def create_installation_key(self, *, name: str, expires_at: datetime | None = None) -> NewKey:
        """Make a key of the installation; the answer is the only place where it can be seen."""
        secret = new_secret(INSTALLATION_KEY_PREFIX)
        row = installation_keys.InstallationKeyRow(
            id=self._new_id(),
            name=name,
            prefix=shown(secret, INSTALLATION_KEY_PREFIX),
            created_at=self._clock(),
            expires_at=expires_at,
            rotated_at=None,
            previous_expires_at=None,
            last_used_at=None,
            revoked_at=None,
        )
        async with self._pool.acquire() as conn:
            await installation_keys.create(conn, row, key_sha256=digest(secret))
        return NewKey(id=ids.to_wire(ids.Kind.INSTALLATION_KEY, row.id), secret=secret)

    async def rotate_installation_key(self, key_id: str, *, overlap: timedelta) -> NewKey:
        """Give a key of the installation a new secret.

        Raises:
            NotFound: there is no such key.
            KeyNotInForce: it is revoked or expired.
        """
        row = row_id(ids.Kind.INSTALLATION_KEY, key_id, "key")
        secret, now = new_secret(INSTALLATION_KEY_PREFIX), self._clock()
        async with self._pool.acquire() as conn:
            is_rotated = await installation_keys.rotate(
                conn,
                row,
                key_sha256=digest(secret),
                prefix=shown(secret, INSTALLATION_KEY_PREFIX),
                at=now,
                previous_expires_at=now + overlap,
            )
            if not is_rotated:
                if row not in {known.id for known in await installation_keys.listed(conn)}:
                    raise NotFound("key")
                raise KeyNotInForce(key_id)
        return NewKey(id=key_id, secret=secret)

    async def installation_keys(self) -> list[InstallationKey]:
        """List the keys of the installation, oldest first."""
        async with self._pool.acquire() as conn:
            found = await installation_keys.listed(conn)
        return [
            InstallationKey(**{**row._asdict(), "id": ids.to_wire(ids.Kind.INSTALLATION_KEY, row.id)})
            for row in found
        ]

    async def revoke_installation_key(self, key_id: str) -> None:
        """Refuse a key of the installation from now on.

        Raises:
            NotFound: there is no such key, or it is revoked already.
        """
        row = row_id(ids.Kind.INSTALLATION_KEY, key_id, "key")
        async with self._pool.acquire() as conn:
            if not await installation_keys.revoke(conn, row, at=self._clock()):
                raise NotFound("key")

    async def installation_caller_of(self, secret: str) -> Caller | None:
        """Which key of the installation this is; None when it is unknown, replaced, expired or revoked."""
        async with self._pool.acquire() as conn:
            found = await installation_keys.find(conn, key_sha256=digest(secret), at=self._clock())
        if found is None:
            return None
        return Caller(
            organization_id=INSTALLATION,
            actor=Actor(key_id=ids.to_wire(ids.Kind.INSTALLATION_KEY, found.id)),
            scopes=frozenset(),
            expires_at=found.expires_at,
        )

    def _organization(self, name: str) -> tuple[Organization, UUID]:
        row, now = self._new_id(), self._clock()
        made = Organization(id=ids.to_wire(ids.Kind.ORGANIZATION, row), name=name, created_at=now)
        return made, row


def _organization(row: organizations.OrganizationRow) -> Organization:
    return Organization(
        id=ids.to_wire(ids.Kind.ORGANIZATION, row.id), name=row.name, created_at=row.created_at
    )
