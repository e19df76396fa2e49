"""What callers say in the query string."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from api.routes.etags import REVISION_MAX
from api.routes.paging import LIMIT_DEFAULT, LIMIT_MAX
from api.routes.schemas.requests import Rewind, WireId
from api.store.metrics import METRIC_DIMENSIONS
from api.store.summaries import DIMENSIONS

Limit = Annotated[int, Meta(ge=1, le=LIMIT_MAX)]


def _list_of(words: Sequence[str]) -> str:
    """The pattern of one or more of some words, with commas between them."""
    choice = f"({'|'.join(words)})"
    return f"^{choice}(,{choice})*$"


PageToken = Annotated[str, Meta(min_length=1, max_length=200)]
Position = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class PageQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a list goes on, and how much of it."""

    limit: Limit = LIMIT_DEFAULT
    """How many items at most."""
    page_token: PageToken | None = None
    """`next_page_token` of the page before; left out for the first page."""


class SessionListQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which sessions; newest first."""

    state: Literal["open", "ended"] | None = None
    """Only sessions in this state."""
    agent_id: WireId | None = None
    """Only sessions with this agent."""
    active_since: Annotated[datetime, Meta(tz=True)] | None = None
    """Only sessions with a commit since this instant, to the hour."""
    q: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    """Only sessions whose name begins with this, or whose id this is."""


class ApprovalListQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which approvals; newest first."""

    session_id: WireId | None = None
    """Only approvals of this session."""
    state: Literal["open", "decided", "closed"] | None = None
    """Only approvals in this state; `closed`: their turn ended before anybody decided."""


class SessionQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of a session."""

    last_turns: Annotated[int, Meta(ge=0, le=LIMIT_MAX)] | None = None
    """Only this many of the newest turns; 200 unless said."""
    since_revision: Annotated[int, Meta(ge=0, le=REVISION_MAX)] | None = None
    """Only what has changed since this revision: the header, and the turns from `line_from` on."""
    include: Literal["live"] | None = None
    """`live` adds what moves without a revision; the answer then has no ETag."""


class TurnListQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which turns of the line, in order of position."""

    start: Position = msgspec.field(name="from", default=0)
    """The position of the first."""
    limit: Limit = LIMIT_DEFAULT
    """How many items at most."""


class EventListQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events of a session, in order of revision."""

    after: Annotated[int, Meta(ge=0, le=REVISION_MAX)] | None = None
    """Only events of later revisions. Unless said a list begins with the first, a stream with the next."""
    limit: Limit = LIMIT_DEFAULT
    """How many items at most; of a list."""
    last_event_id: Annotated[str, Meta(max_length=100)] | None = None
    """The same as the header field `Last-Event-ID`, which counts if both are given; of a stream."""


class RewindPreviewQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to: exactly one of the two."""

    schema_extra: ClassVar[dict[str, Any]] = Rewind.schema_extra

    turn_id: WireId | UnsetType = UNSET
    """The last turn that would stay in effect."""
    to: Literal["start"] | UnsetType = UNSET
    """Before the first turn."""

    def __post_init__(self) -> None:
        """Refuse both and neither; `schema_extra` says the same to the caller."""
        if (self.turn_id is UNSET) == (self.to is UNSET):
            raise ValueError("exactly one of turn_id and to is needed")


class RestorePreviewQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which discarded future."""

    ordinal: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    """Its ordinal."""


TimeZoneName = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_+/-]*$")]


class DaysQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which days, and of which time zone."""

    since: date | None = msgspec.field(name="from", default=None)
    """The first day, as `2026-11-01`; from the beginning unless said."""
    until: date | None = msgspec.field(name="to", default=None)
    """The day behind the last, so that a month is `from=2026-11-01&to=2026-12-01`; to now unless said."""
    tz: TimeZoneName = "UTC"
    """The IANA name of the time zone whose days are meant, as `Europe/Berlin`."""


class UsageSummaryQuery(DaysQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which days of the ledger, and what the sums are apart by."""

    group_by: Annotated[str, Meta(pattern=_list_of(DIMENSIONS))] | None = None
    """One or more of `day model agent session key purpose outcome`, with commas; else one sum of all."""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    """How many groups at most."""
    page_token: PageToken | None = None
    """`next_page_token` of the page before; left out for the first page."""


class SessionMetricsQuery(DaysQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """On which days the sessions started, and what the figures are apart by."""

    group_by: Annotated[str, Meta(pattern=_list_of(METRIC_DIMENSIONS))] | None = None
    """One or more of `day agent version state resolution`, with commas; else the figures of all."""
    limit: Limit = LIMIT_DEFAULT
    """How many groups at most."""
    page_token: PageToken | None = None
    """`next_page_token` of the page before; left out for the first page."""


class BudgetQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which budget."""

    period: Literal["day", "month", "total"]
    """Its period."""
    key_id: WireId | None = None
    """The API key that it is for; left out for the one of the whole organization."""


class PriceListQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which prices."""

    provider: Annotated[str, Meta(max_length=32)] | None = None
    """Only prices of this provider's models."""


class UsageExportQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which entries of the ledger, and in which form."""

    format: Literal["jsonl", "csv"] = "jsonl"
    """`jsonl`: a line of JSON for each entry, as the list of entries shows it. `csv`: with a header line."""
    after: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    """Only entries with a higher `seq`: the last one that was received, to go on with an export."""
    session_id: WireId | None = None
    """Only entries of this session; `seq` then has gaps."""


class UsageEntriesQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which entries of the ledger, in order of `seq`."""

    after: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    """Only entries with a higher `seq`: `next` of the page before."""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    """How many items at most."""
    session_id: WireId | None = None
    """Only entries of this session; `seq` then has gaps."""


class SessionExportQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """In which form."""

    format: Literal["json", "markdown"] = "json"
    """`json` holds everything and can be imported; `markdown` is the conversation, for people."""
