"""Reconciliation: what should not be, found by queries over all organizations and by the law itself."""

from collections.abc import AsyncIterator
from uuid import UUID

import msgspec

from api.session import codec, ids, invariants
from api.session.document import Document
from api.session.errors import CorruptDocument, InvariantViolated
from api.session.line import line_of
from api.store import rows
from api.store.base import Base
from db import doctor, futures, sessions, turns
from db.pool import Connection

LAW = "law of the document"
"""The check that reads sampled sessions whole."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that should not be."""

    organization_id: str
    subject: str
    detail: str


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one check."""

    check: str
    findings: tuple[Finding, ...]


class Doctor(Base):
    """The part of the store that looks for what should not be. It changes nothing."""

    async def examine(self, *, sessions_max: int) -> AsyncIterator[Diagnosis]:
        """Run every check, and hold the law against up to `sessions_max` sessions drawn by chance."""
        for name in doctor.CHECKS:
            async with self._pool.acquire() as conn:
                found = await doctor.check(conn, name)
            yield Diagnosis(
                check=name,
                findings=tuple(_finding(row.organization_id, row.subject, row.detail) for row in found),
            )
        yield Diagnosis(check=LAW, findings=tuple([f async for f in self._unlawful(sessions_max)]))

    async def _unlawful(self, sessions_max: int) -> AsyncIterator[Finding]:
        async with self._pool.acquire() as conn:
            drawn = await doctor.sample(conn, limit=sessions_max)
        for organization_id, session_id in drawn:
            async with (
                self._pool.acquire() as conn,
                conn.transaction(isolation="repeatable_read", readonly=True),
            ):
                try:
                    document = await whole_document(conn, organization_id, session_id)
                    if document is not None:
                        invariants.check(document)
                except (InvariantViolated, CorruptDocument) as error:
                    yield _finding(organization_id, f"session {session_id}", str(error))


async def whole_document(conn: Connection, organization_id: UUID, session_id: UUID) -> Document | None:
    """Read all that is stored of a session, for the law; None when there is no such session (any more)."""
    scope = (conn, organization_id, session_id)
    loaded = await sessions.load(*scope)
    if loaded is None:
        return None
    session = rows.head(loaded).session
    branches = rows.branches(await turns.branches(*scope))
    line = line_of(branches, session.branch, session.turn_count)
    stored = sorted(
        (codec.decode_turn(body) for body in await doctor.bodies(*scope)), key=lambda turn: turn.position
    )
    restorable = await futures.restorable(*scope, before=None, limit=None)
    return Document(
        session=session,
        context=msgspec.json.decode(loaded.context),
        metadata=msgspec.json.decode(loaded.metadata),
        turns=tuple(turn for turn in stored if line.holds(turn)),
        branches=branches,
        discarded_futures=tuple(rows.future(future) for future in reversed(restorable)),
        discarded_turns=tuple(turn for turn in stored if not line.holds(turn)),
    )


def _finding(organization_id: UUID, subject: str, detail: str) -> Finding:
    organization = ids.to_wire(ids.Kind.ORGANIZATION, organization_id)
    return Finding(organization_id=organization, subject=subject, detail=detail)
