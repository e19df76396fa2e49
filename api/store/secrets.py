"""Secrets of organizations: written, listed by name, given to tools alone."""

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from api.store.base import Base, Caller
from api.store.errors import NotFound, TooManySecrets
from api.store.keyring import Keyring
from db import secrets

SECRETS_MAX = 200
"""Secrets of one organization."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_BATCH = 100
_FIRST = UUID(int=0)


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """A secret without its value, which nobody is shown."""

    name: str
    created_at: datetime
    updated_at: datetime


class Secrets(Base):
    """The part of the store that keeps secrets."""

    def __init__(self, *args: Any, keyring: Keyring, **options: Any) -> None:
        super().__init__(*args, **options)
        self._keyring = keyring

    async def put(self, caller: Caller, name: str, value: str) -> Secret:
        """Store a secret, or replace the one of this name.

        Raises:
            NotFound: no secret can have this name.
            TooManySecrets: the organization has `SECRETS_MAX` others.
            SecretsUnavailable: the installation has no key.
        """
        if not _NAME.fullmatch(name):
            raise NotFound("secret")
        sealed = self._keyring.seal(caller.organization_id, name, value)
        async with self._pool.acquire() as conn:
            row = await secrets.put(
                conn,
                sealed,
                at=self._clock(),
                by=msgspec.json.encode(caller.actor),
                count_max=SECRETS_MAX,
            )
        if row is None:
            raise TooManySecrets(SECRETS_MAX)
        return _secret(row)

    async def secrets(self, caller: Caller) -> list[Secret]:
        """List the secrets of an organization, by name."""
        async with self._pool.acquire() as conn:
            found = await secrets.listed(conn, caller.organization_id, limit=SECRETS_MAX + 1)
        return [_secret(row) for row in found]

    async def delete(self, caller: Caller, name: str) -> None:
        """Remove a secret.

        Raises:
            NotFound: there is none of this name.
        """
        async with self._pool.acquire() as conn:
            is_gone = _NAME.fullmatch(name) and await secrets.delete(conn, caller.organization_id, name)
        if not is_gone:
            raise NotFound("secret")

    async def values(self, organization_id: UUID, names: Collection[str]) -> Mapping[str, str]:
        """The values of those of the named secrets that are there; for the call that needs them, no longer.

        Raises:
            SecretsUnavailable: one of them cannot be decrypted.
        """
        async with self._pool.acquire() as conn:
            found = await secrets.sealed(conn, organization_id, list(names))
        return {sealed.name: self._keyring.open(sealed) for sealed in found}

    async def rotate(self) -> int:
        """Encrypt what other keys have encrypted with the first, in every organization; answers how many.

        Raises:
            SecretsUnavailable: there is no key, or one secret cannot be decrypted; those before it are done.
        """
        count, after = 0, (_FIRST, "")
        while True:
            async with self._pool.acquire() as conn:
                found = await secrets.otherwise_sealed(
                    conn, key_id=self._keyring.key_id, after=after, limit=_BATCH
                )
                for sealed in found:
                    value = self._keyring.open(sealed)
                    resealed = self._keyring.seal(sealed.organization_id, sealed.name, value)
                    # Whoever replaced it meanwhile has encrypted it anew.
                    count += await secrets.reseal(conn, sealed, resealed)
            if len(found) < _BATCH:
                return count
            after = (found[-1].organization_id, found[-1].name)


def _secret(row: secrets.SecretRow) -> Secret:
    return Secret(name=row.name, created_at=row.created_at, updated_at=row.updated_at)
