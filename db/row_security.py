"""Row-level security: connections that see one organization at a time, whatever a statement asks for.

The application role is not the owner of the tables and cannot pass their policies by. A connection of its
pool is told which organization it works for when it is taken, never later: it is not handed out before the
database has confirmed that, and one that could not be told is closed. So whatever it was told before is
overwritten, and nothing needs to be reset when it is given back.
"""

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg

from db.pool import Pool, connect_options, open_pool

if TYPE_CHECKING:
    _Connection = asyncpg.Connection[asyncpg.Record]
else:
    _Connection = asyncpg.Connection

APPLICATION_ROLE = "turnledger_application"

acting_for: ContextVar[UUID | None] = ContextVar("acting_for", default=None)
"""The organization that the current task works for: what connections that it takes are told."""

_NOBODY = ""


class RowSecurityError(Exception):
    """The application role cannot be had, or is no wall."""


_BIND = """
SELECT set_config('turnledger.organization_id', $1, false)
"""


class BoundConnection(_Connection):
    """A connection that knows which organization the database believes it to work for."""

    bound_to: str | None = None
    """None while that is not known."""

    async def bind(self, organization: str) -> None:
        """Tell the database for whom this connection works from now on; nothing if it knows."""
        if self.bound_to == organization:
            return
        self.bound_to = None
        await self.fetchval(_BIND, organization)
        self.bound_to = organization


async def bind_taken(conn: Any) -> None:
    """Tell a connection that is being taken for whom it works; a pool closes it if that fails."""
    organization = acting_for.get()
    await conn.bind(_NOBODY if organization is None else str(organization))


_MAKE_ROLE = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'turnledger_application') THEN
        CREATE ROLE turnledger_application NOLOGIN;
    END IF;
EXCEPTION
    -- Somebody made it for another database of this server at the same moment.
    WHEN duplicate_object OR unique_violation THEN NULL;
END $$
"""

_GRANT = """
DO $$
BEGIN
    IF NOT pg_has_role(current_user, 'turnledger_application', 'MEMBER') THEN
        GRANT turnledger_application TO CURRENT_USER;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO turnledger_application', current_schema());
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I '
                   'TO turnledger_application', current_schema());
    REVOKE ALL ON schema_migrations, installation_keys FROM turnledger_application;
END $$
"""

_LOCK = """
SELECT pg_advisory_xact_lock(hashtext('turnledger_application'))
"""

_CHECK = """
SELECT rolsuper OR rolbypassrls AS passes_by,
       EXISTS (SELECT FROM pg_class c
                WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
                  AND pg_has_role('turnledger_application', c.relowner, 'MEMBER')) AS owns
  FROM pg_roles WHERE rolname = 'turnledger_application'
"""


async def prepare_role(dsn: str) -> None:
    """Make the application role if there is none, and let it at the tables; done again at every start.

    Raises:
        RowSecurityError: the role cannot be made, or would not be held by the policies.
    """
    conn = await asyncpg.connect(dsn, **connect_options(dsn))
    try:
        async with conn.transaction():
            await conn.execute(_LOCK)
            await conn.execute(_MAKE_ROLE)
            await conn.execute(_GRANT)
            found = await conn.fetchrow(_CHECK)
    except asyncpg.InsufficientPrivilegeError as error:
        raise RowSecurityError(
            f"The role {APPLICATION_ROLE} cannot be set up: {error}. Have an administrator make it, without "
            "login, and grant it to the role of the service."
        ) from error
    finally:
        await conn.close()
    if found is None or found["passes_by"] or found["owns"]:
        raise RowSecurityError(f"The role {APPLICATION_ROLE} is not held by row-level security.")


async def open_application_pool(dsn: str, **options: Any) -> Pool:
    """Open a pool for the application role; `options` are those of `open_pool`.

    Raises:
        RowSecurityError: the role cannot be had, or is no wall.
        OSError, asyncpg.PostgresError: the database cannot be reached, or turns us away.
    """
    await prepare_role(dsn)
    return await open_pool(
        dsn,
        **options,
        role=APPLICATION_ROLE,
        connection_class=BoundConnection,
        setup=bind_taken,
    )
