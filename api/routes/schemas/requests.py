"""What callers send in a body. Every struct refuses fields that it does not know."""

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from api.routes.etags import REVISION_MAX
from api.routes.schema_components import BLANK

Text = Annotated[
    str,
    Meta(pattern=BLANK, extra={"limit": "text_bytes_max"}, extra_json_schema={"maxLength": 32 * 1024}),
]
"""What a person says: not blank, at most 32 KiB of UTF-8 unless the settings say otherwise.

The published schema can count characters only; `validation.Limits` counts bytes and decides.
"""

Name = Annotated[str, Meta(max_length=200, pattern=BLANK)]
Context = Annotated[dict[str, Any], Meta(extra={"limit": "context_bytes_max"})]
Metadata = Annotated[dict[str, Any], Meta(extra={"limit": "metadata_bytes_max"})]
WireId = Annotated[str, Meta(min_length=1, max_length=64)]
"""Any short string: one that names nothing is answered as a missing thing, not as a malformed one."""

Revision = Annotated[int, Meta(ge=1, le=REVISION_MAX)]


class CreateSession(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Open a session with an agent."""

    agent_id: WireId
    agent_version: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    """The version to pin; null for the newest."""
    name: Name | None = None
    context: Context = {}
    """What the agent is told about this session; it never changes. At most 16 KiB as compact JSON."""
    metadata: Metadata = {}
    """What the caller keeps beside the session; no model ever sees it. At most 16 KiB as compact JSON."""


class PatchSession(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Change name or metadata, as a merge patch (RFC 7396): null removes, what is left out stays."""

    name: Name | UnsetType | None = UNSET
    """The new name; null takes the name away."""
    metadata: Metadata | UnsetType | None = UNSET
    """Merged into the metadata key by key; null empties it. The limit of 16 KiB holds for the result."""
    expected_revision: Revision | None = None
    """The revision that the caller has seen, where `If-Match` does not say it."""


class AppendMessage(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Say something; the agent answers in the same turn."""

    text: Text
    """At most 32 KiB of UTF-8."""
    speaker: Name | None = None
    """A name for the person who speaks; null is simply the user."""
    if_active: Literal["reject", "enqueue", "interrupt"] = "reject"
    """While another turn is unfinished: refuse, wait behind it (at most 8), or cancel it first."""
    expected_revision: Revision | None = None
    """The revision that the caller has seen, where `If-Match` does not say it."""


class Rewind(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Move the cursor: to a turn, which stays in effect, or to before the first."""

    schema_extra: ClassVar[dict[str, Any]] = {"oneOf": [{"required": ["turn_id"]}, {"required": ["to"]}]}

    turn_id: WireId | UnsetType = UNSET
    """The last turn that stays in effect."""
    to: Literal["start"] | UnsetType = UNSET
    """Before the first turn."""
    expected_revision: Revision | None = None
    """The revision that the caller has seen, where `If-Match` does not say it."""

    def __post_init__(self) -> None:
        """Refuse both and neither; `schema_extra` says the same to the caller."""
        if (self.turn_id is UNSET) == (self.to is UNSET):
            raise ValueError("exactly one of turn_id and to is needed")


class Restore(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Put a discarded future back on the line."""

    ordinal: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    expected_revision: Revision | None = None
    """The revision that the caller has seen, where `If-Match` does not say it."""


class Regenerate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Answer a turn again, with the same words or with others."""

    text: Text | None = None
    """What the user says instead, at most 32 KiB of UTF-8; null keeps the words."""
    expected_revision: Revision | None = None
    """The revision that the caller has seen, where `If-Match` does not say it."""


class Retry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Try a failed or cancelled last turn again."""

    expected_revision: Revision | None = None
    """The revision that the caller has seen, where `If-Match` does not say it."""


class Cancel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Stop an unfinished turn; the text that was shown stays."""

    expected_revision: Revision | None = None
    """Checked when given; the turn's id is precondition enough."""


class End(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Close a session for good."""

    resolution: Annotated[str, Meta(max_length=1000, pattern=BLANK)] | None = None
    """How it ended, in the caller's words."""
    expected_revision: Revision | None = None
    """The revision that the caller has seen, where `If-Match` does not say it."""


class Fork(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Begin a new session with copies of the turns up to one."""

    turn_id: WireId
    """The last turn that is copied."""
    expected_revision: Revision | None = None
    """Checked when given."""
