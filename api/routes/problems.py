"""Problem documents (RFC 9457): the one shape of every answer that is not a success."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from api.session.conflicts import Advice
from api.session.document import Actor, Event, EventType
from api.store.scopes import Scope

MEDIA_TYPE = "application/problem+json"

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


class ScopeProblem(Problem, frozen=True, kw_only=True, omit_defaults=True):
    """The API key was made for other things."""

    scope: Scope
    """The scope that is missing."""
    any_of: tuple[Scope, ...]
    """Any of these would do; `scope` is the first of them."""


class ConflictChange(msgspec.Struct, frozen=True, kw_only=True):
    """One commit since the revision that the caller expected. It never carries anybody's text."""

    revision: int
    type: EventType
    turn_id: str | None
    """The turn that the command itself created or ended; null where it acted on the session."""
    actor: Actor
    at: datetime


class ConflictProblem(Problem, frozen=True, kw_only=True, omit_defaults=True):
    """The session, or the draft, is at another revision than the caller expected; nothing was changed."""

    expected_revision: int
    actual_revision: int
    etag: str
    """The ETag of the session or draft as it stands; of a draft that is not there `"0"`."""
    changes: tuple[ConflictChange, ...]
    """The commits since the expected revision, in order; the first 50 where there are more."""
    retry: Advice
    """`replay`: send the same again. `resubmit`: nothing that you judged has changed, use the new revision.
    `rebase`: the line has changed, look first. `abandon`: the session takes no further commands."""
    document: Document | None = None
    """The session as it stands; only with `Prefer: return=representation`."""


class BudgetProblem(Problem, frozen=True, kw_only=True, omit_defaults=True):
    """A budget is used up; no turn begins."""

    period: str
    """`day`, `month` or `total`."""
    time_zone: str
    """Whose days and months these are."""
    spent: str
    reserved: str
    """What the calls under way are taken to cost."""
    limit: str
    currency: str
    key_id: str | None = None
    """The API key that the budget is for; left out for that of the whole organization."""
    resets_at: datetime | None = None
    """When the next period begins; left out for a budget of all time."""


class InFlightProblem(Problem, frozen=True, kw_only=True, omit_defaults=True):
    """Another request is being carried out; nothing is known of this one yet."""

    retry: Advice
    """`replay`: send the same again."""


def changes_of(events: Iterable[Event]) -> tuple[ConflictChange, ...]:
    """Describe `events` for a conflict, in their order."""
    return tuple(
        ConflictChange(
            revision=event.revision,
            type=event.type,
            turn_id=next((effect.turn_id for effect in event.effects if effect.type == event.type), None),
            actor=event.actor,
            at=event.at,
        )
        for event in events
    )


def describe(*, code: str, status: int, detail: str, instance: str | None = None) -> Problem:
    """Make the problem document of `code`; its title is the code in words."""
    return Problem(
        type=f"/problems/{code}",
        title=code.replace("-", " ").replace("_", " ").capitalize(),
        status=status,
        detail=detail,
        code=code,
        instance=instance,
    )
