"""The revision has moved under the caller: what it is now, what changed since, what to do next."""

from typing import Self

import msgspec

from api.routes.api_error import ApiError
from api.routes.etags import etag_of
from api.routes.problems import ConflictChange, ConflictProblem, Document, changes_of
from api.session.conflicts import Advice
from api.store import errors as store


class StaleRevision(ApiError):
    """The session, or the draft, is at another revision than the caller expected; nothing was changed."""

    code = "stale-revision"

    def __init__(
        self,
        *,
        expected_revision: int,
        actual_revision: int,
        changes: tuple[ConflictChange, ...],
        retry: Advice,
        document: Document | None = None,
        subject: str = "session",
    ) -> None:
        self.expected_revision = expected_revision
        self.actual_revision = actual_revision
        self.changes = changes
        self.retry = retry
        self.document = document
        super().__init__(
            f"The {subject} is at revision {actual_revision}, not {expected_revision}; nothing was changed."
        )

    @classmethod
    def of(cls, conflict: store.RevisionConflict, *, document: Document | None = None) -> Self:
        """Make the answer to a conflict that the store found; `document` is for who asked for it."""
        return cls(
            expected_revision=conflict.expected,
            actual_revision=conflict.actual,
            changes=changes_of(conflict.changes),
            retry=conflict.advice,
            document=document,
        )

    @classmethod
    def of_draft(cls, conflict: store.DraftConflict) -> Self:
        """Make the answer to a draft that is not the one that the caller has seen; 0 stands for none."""
        return cls(
            expected_revision=max(conflict.expected or 0, 0),
            actual_revision=conflict.actual,
            changes=(),
            retry=Advice.REBASE,
            subject="draft",
        )

    @property
    def headers(self) -> dict[str, str]:
        """The ETag to use next."""
        return {"ETag": etag_of(self.actual_revision)}

    def problem(self, *, status: int) -> ConflictProblem:
        """Say what has changed since, and what to do next."""
        return ConflictProblem(
            **msgspec.structs.asdict(super().problem(status=status)),
            expected_revision=self.expected_revision,
            actual_revision=self.actual_revision,
            etag=etag_of(self.actual_revision),
            changes=self.changes,
            retry=self.retry,
            document=self.document,
        )


class PreconditionFailed(StaleRevision):
    """The same, where the caller expected it by `If-Match` (RFC 9110 15.5.13)."""
