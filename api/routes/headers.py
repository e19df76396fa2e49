"""The header fields that operations read and answer with, described once for the published schema."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """One header field."""

    name: str
    hint: Any
    """The type of its value, with bounds."""
    description: str


IF_MATCH = Header(
    name="If-Match",
    hint=Annotated[str, Meta(max_length=1000)],
    description=(
        'The revision that the caller has judged, as `"7"`; `*` says on purpose that any revision will do. '
        "A mismatch is answered with 412. `expected_revision` in the body says the same, with 409."
    ),
)
IF_NONE_MATCH = Header(
    name="If-None-Match",
    hint=Annotated[str, Meta(max_length=1000)],
    description="The ETag that the caller has; the answer is 304 when it still holds.",
)
IDEMPOTENCY_KEY = Header(
    name="Idempotency-Key",
    hint=Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[\x20-\x7e]+$")],
    description=(
        "Makes the call safe to send again: the same key and request get the first answer, byte for byte. "
        "Kept for 72 hours, within the organization."
    ),
)
PREFER = Header(
    name="Prefer",
    hint=str,
    description="`return=representation` asks for the whole document (RFC 7240).",
)
PREFER_WAIT = Header(
    name="Prefer",
    hint=str,
    description=(
        "`wait=N`: wait at most N seconds for the turn, 30 unless said and 120 at most. "
        "`respond-async`: do not wait. "
        "`return=representation`: the whole document (RFC 7240)."
    ),
)
ON_BEHALF_OF = Header(
    name="Turnledger-On-Behalf-Of",
    hint=Annotated[str, Meta(min_length=1, max_length=255)],
    description="Whom the caller acts for; recorded with what it does, not verified.",
)
LAST_EVENT_ID = Header(
    name="Last-Event-ID",
    hint=Annotated[str, Meta(max_length=100)],
    description=(
        "Of an event stream: the `id` of the last event that was received. The stream goes on behind it, at "
        "any server, without a gap or a repetition."
    ),
)

ETAG = Header(name="ETag", hint=str, description='The revision of the session, as `"7"`.')
DRAFT_ETAG = Header(name="ETag", hint=str, description='The revision of the draft, as `"3"`.')
LOCATION = Header(name="Location", hint=str, description="Where the new thing is read.")
IDEMPOTENCY_REPLAYED = Header(
    name="Idempotency-Replayed",
    hint=str,
    description="`true` when this is the stored answer of an earlier call with the same key.",
)
PREFERENCE_APPLIED = Header(
    name="Preference-Applied", hint=str, description="Which of the preferences were honoured."
)
BUDGET_WARNING = Header(
    name="Turnledger-Budget-Warning",
    hint=str,
    description=(
        "Budgets that are near their end, with commas between them: `month; scope=organization; spent=81.2; "
        "reserved=0.4; limit=100`. Not there while all is well."
    ),
)
LEDGER_HEAD = Header(
    name="Turnledger-Ledger-Head",
    hint=Annotated[int, Meta(ge=0)],
    description="The `seq` of the last entry that the file is to hold.",
)
RETRY_AFTER = Header(
    name="Retry-After", hint=Annotated[int, Meta(ge=0)], description="Seconds to wait before the next call."
)
WWW_AUTHENTICATE = Header(
    name="WWW-Authenticate", hint=str, description="The challenge: a bearer token is needed."
)
ALLOW = Header(name="Allow", hint=str, description="The methods that this address knows.")
