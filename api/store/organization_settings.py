"""What the operator of the installation has set for one organization."""

from collections.abc import Callable, Sequence
from uuid import UUID

from api.session import ids
from api.store.base import Base, row_id
from api.store.errors import NotFound
from db import organization_settings, organizations
from db.pool import retry_serialization


class OrganizationSettings(Base):
    """The part of the store that keeps settings of organizations."""

    async def tool_hosts_allowed(self, organization_id: UUID) -> tuple[str, ...]:
        """The hosts that an organization's tools may call although they are not public."""
        async with self._pool.acquire() as conn:
            return tuple(await organization_settings.tool_hosts_allowed(conn, organization_id))

    async def change_tool_hosts_allowed(
        self, organization_id: str, change: Callable[[Sequence[str]], Sequence[str]]
    ) -> tuple[str, ...]:
        """Replace these hosts by what `change` makes of them.

        Raises:
            NotFound: there is no such organization.
        """
        organization = row_id(ids.Kind.ORGANIZATION, organization_id, "organization")

        async def attempt() -> tuple[str, ...]:
            async with self._pool.acquire() as conn, conn.transaction(isolation="serializable"):
                if organization not in {known.id for known in await organizations.listed(conn)}:
                    raise NotFound("organization")
                changed = change(await organization_settings.tool_hosts_allowed(conn, organization))
                await organization_settings.set_tool_hosts_allowed(
                    conn, organization, changed, at=self._clock()
                )
            return tuple(changed)

        return await retry_serialization(attempt)
