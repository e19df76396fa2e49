"""Which revision the caller has seen: `If-Match`, `expected_revision`, `If-None-Match` (RFC 9110 13.1)."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from api.routes.errors import ContradictingPreconditions, MalformedPrecondition, PreconditionRequired
from api.routes.etags import Tag, parse_tags
from api.routes.problems import Document
from api.routes.stale import PreconditionFailed, StaleRevision
from api.store.errors import RevisionConflict

NEVER = 0
"""A revision that no session has: what is expected when none of the given tags can ever match."""


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """The revision for which a call is meant."""

    revision: int | None
    """The highest that was named, or `NEVER`; None when any revision will do (`If-Match: *`)."""
    others: tuple[int, ...] = ()
    """Lower revisions that were named beside it; nearly always empty."""
    source: Literal["if-match", "body"]

    def against(self, actual_revision: int) -> int | None:
        """Choose the one revision to swap on, for a session found at `actual_revision`."""
        return actual_revision if actual_revision in self.others else self.revision

    def stale(self, conflict: RevisionConflict, *, document: Document | None = None) -> StaleRevision:
        """Answer the store's conflict: 412 where the header named the revision, 409 where the body did."""
        error = PreconditionFailed if self.source == "if-match" else StaleRevision
        return error.of(conflict, document=document)


def parse_expected(if_match: Sequence[str], body_revision: int | None) -> Expected | None:
    """Read what the caller expects from the lines of `If-Match` and from the body; None when neither says.

    Only strong tags match (RFC 9110 13.1.1); a list and a body that names one of the list mean that one.

    Raises:
        MalformedPrecondition: `If-Match` is not a list of entity tags.
        ContradictingPreconditions: header and body name different revisions.
    """
    if not if_match:
        return None if body_revision is None else Expected(revision=body_revision, source="body")
    try:
        tags = parse_tags(if_match)
    except ValueError as error:
        raise MalformedPrecondition from error
    revisions = None if tags is None else _strong_revisions(tags)
    if body_revision is not None:
        if revisions is None or body_revision not in revisions:
            raise ContradictingPreconditions
        return Expected(revision=body_revision, source="if-match")
    if revisions is None:
        return Expected(revision=None, source="if-match")
    highest, *others = revisions or (NEVER,)
    return Expected(revision=highest, others=tuple(others), source="if-match")


def require_expected(if_match: Sequence[str], body_revision: int | None) -> Expected:
    """Read what the caller expects, for a call that changes the document.

    Raises:
        PreconditionRequired: neither header nor body says.
        MalformedPrecondition, ContradictingPreconditions: as `parse_expected`.
    """
    expected = parse_expected(if_match, body_revision)
    if expected is None:
        raise PreconditionRequired
    return expected


def is_not_modified(if_none_match: Sequence[str], revision: int) -> bool:
    """Say whether the caller already has `revision`, by weak comparison (RFC 9110 13.1.2).

    A field that cannot be read is as good as none: the caller gets the document.
    """
    if not if_none_match:
        return False
    try:
        tags = parse_tags(if_none_match)
    except ValueError:
        return False
    return tags is None or any(tag.revision == revision for tag in tags)


def _strong_revisions(tags: tuple[Tag, ...]) -> tuple[int, ...]:
    named = {tag.revision for tag in tags if not tag.is_weak}
    return tuple(sorted((revision for revision in named if revision is not None), reverse=True))
