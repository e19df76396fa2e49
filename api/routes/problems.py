"""Problem documents (RFC 9457): the one shape of every answer that is not a success."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec

from api.session.document import Actor, Event, EventType

MEDIA_TYPE = "application/problem+json"

CHANGES_MAX = 50
"""Changes that a conflict names; a caller further behind reads the session again anyway."""

Retry: TypeAlias = Literal["replay", "resubmit", "rebase", "abandon"]
"""What the caller may do next: `replay` the same call; `resubmit` it with the new revision, because nothing
that it judged has changed; `rebase`: look first, the line has changed; `abandon`: ended or gone."""

Document: TypeAlias = dict[str, Any]
"""A session as it would be read, already made of plain JSON values."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a call was not done (RFC 9457)."""

    type: str
    """A relative URI that names the kind of problem: `/problems/` and the code."""
    title: str
    """The kind of problem in a few words; the same for every occurrence."""
    status: int
    """The HTTP status of this answer."""
    detail: str
    """This occurrence, for people; not to be parsed."""
    code: str
    """The kind of problem, for programs."""
    instance: str | None = None
    """This occurrence as a URI; given where our log has a line under it."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with the input."""

    pointer: str
    """Where: a JSON pointer into the body (RFC 6901), or `?name` for a query parameter."""
    message: str
    """What is wrong, for people."""
    code: str
    """What is wrong, for programs."""


class InvalidProblem(Problem, frozen=True, kw_only=True, omit_defaults=True):
    """Every fault of the input at once."""

    errors: tuple[Fault, ...]


class ConflictChange(msgspec.Struct, frozen=True, kw_only=True):
    """One commit since the revision that the caller expected. It never carries anybody's text."""

    revision: int
    type: EventType
    turn_id: str | None
    """The turn that the command itself created or ended; null where it acted on the session."""
    actor: Actor
    at: datetime


class ConflictProblem(Problem, frozen=True, kw_only=True, omit_defaults=True):
    """The session is at another revision than the caller expected; nothing was changed."""

    expected_revision: int
    actual_revision: int
    etag: str
    """The ETag of the session as it stands."""
    changes: tuple[ConflictChange, ...]
    """The commits since the expected revision, oldest first; the newest 50 where there are more."""
    retry: Retry
    """`resubmit`: nothing that you judged has changed, use the new revision. `rebase`: the line has changed,
    look first. `abandon`: the session takes no further commands."""
    document: Document | None = None
    """The session as it stands; only with `Prefer: return=representation`."""


def changes_of(events: Iterable[Event]) -> tuple[ConflictChange, ...]:
    """Describe `events` (oldest first) for a conflict, keeping the newest `CHANGES_MAX`."""
    return tuple(
        ConflictChange(
            revision=event.revision,
            type=event.type,
            turn_id=next((effect.turn_id for effect in event.effects if effect.type == event.type), None),
            actor=event.actor,
            at=event.at,
        )
        for event in list(events)[-CHANGES_MAX:]
    )


def advise(*, expected_revision: int, changes: tuple[ConflictChange, ...], is_ended: bool) -> Retry:
    """Say what a caller whose revision is stale may do next.

    Only a change of name or metadata leaves what the caller judged as it was. When the changes at hand do
    not reach back to the expected revision, the line is taken to have changed.
    """
    if is_ended:
        return "abandon"
    is_known_from_there = bool(changes) and changes[0].revision == expected_revision + 1
    if is_known_from_there and all(change.type == EventType.SESSION_UPDATED for change in changes):
        return "resubmit"
    return "rebase"
