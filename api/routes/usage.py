"""The ledger, for billing."""

from collections.abc import AsyncIterator
from decimal import Decimal

import msgspec
from litestar import Response

from api.routes import headers, usage_files
from api.routes.answers import respond, respond_stored
from api.routes.calls import Call
from api.routes.downloads import Download
from api.routes.operations import Answer, operation
from api.routes.paging import read_integer, read_uuid, write_page_token
from api.routes.schemas.queries import PageQuery, UsageEntriesQuery, UsageExportQuery, UsageSummaryQuery
from api.routes.schemas.usage import (
    CorrectEntry,
    UsageEntryChain,
    UsageEntryView,
    UsageHead,
    UsageHeads,
    UsagePage,
    UsageSummary,
    summary_group,
    usage_entry_chain,
    usage_entry_view,
)
from api.routes.streams import Place
from api.session import ids
from api.store import Replay, StoredAnswer
from api.store.corrections import METERS, Corrected
from api.store.ledger import UsageEntry
from api.store.scopes import Scope

_GROUPS_MAX = 2**22
"""Groups of one summary at most; a page token counts them in the low digits and the head in the high ones."""


@operation(
    "GET",
    "/v1/usage/entries",
    operation_id="listUsageEntries",
    tag="usage",
    scopes=(Scope.USAGE_READ,),
    summary="Read the ledger",
    query=UsageEntriesQuery,
    callers="named_organization",
    answers={200: Answer(description="Entries by `seq`.", struct=UsagePage)},
)
async def list_usage_entries(call: Call) -> Response[bytes]:
    """Every model call exactly once, in commit order and without gaps.

    Ask again with `after` set to `next` while `next` is lower than `head`.
    """
    query = call.query(UsageEntriesQuery)
    page = await call.store.reading.ledger_page(
        call.caller, after=query.after, session_id=query.session_id, limit=query.limit
    )
    entries, head = page.entries, page.head
    # Where nothing is left, all up to there has been archived, and nothing behind it.
    last = entries[-1].seq if entries else max(query.after, page.archived_through)
    # Of one session alone there may be no further entry up to the head, which an empty page then says.
    is_end = query.session_id is not None and len(entries) < query.limit
    return respond(
        UsagePage(
            items=tuple(usage_entry_view(entry) for entry in entries),
            next=max(last, head) if is_end else last,
            head=max(last, head) if entries else head,
            archived_through=page.archived_through,
        )
    )


@operation(
    "GET",
    "/v1/usage/heads",
    operation_id="listUsageHeads",
    tag="usage",
    scopes=(Scope.USAGE_READ,),
    summary="How far the ledger has come",
    query=PageQuery,
    callers="any",
    answers={200: Answer(description="The ledgers that the key may read.", struct=UsageHeads)},
)
async def list_usage_heads(call: Call) -> Response[bytes]:
    """One for the organization of the key; of all organizations, the newest first, for the installation's."""
    query = call.query(PageQuery)
    before = None if query.page_token is None else read_uuid(query.page_token, scope="usage-heads")
    if call.caller.is_installation:
        found = await call.store.access.ledger_heads(before=before, limit=query.limit + 1)
        page = found[: query.limit]
        items = tuple(UsageHead(**msgspec.structs.asdict(head)) for _, head in page)
        next_token = write_page_token(page[-1][0], scope="usage-heads") if len(found) > len(page) else None
        return respond(UsageHeads(items=items, next_page_token=next_token))
    totals = await call.store.reading.usage_totals(call.caller)
    organization_id = ids.to_wire(ids.Kind.ORGANIZATION, call.caller.organization_id)
    return respond(
        UsageHeads(
            items=(UsageHead(organization_id=organization_id, head=totals.last_seq),), next_page_token=None
        )
    )


@operation(
    "GET",
    "/v1/usage/entries/{entry_id}",
    operation_id="getUsageEntry",
    scopes=(Scope.USAGE_READ,),
    callers="named_organization",
    tag="usage",
    summary="Read an entry with its corrections",
    answers={200: Answer(description="The entry, and what it comes to.", struct=UsageEntryChain)},
)
async def get_usage_entry(call: Call) -> Response[bytes]:
    """The entry as it was written, every correction of it, and the net of all."""
    return respond(usage_entry_chain(await call.store.corrections.entry(call.caller, call.path("entry_id"))))


@operation(
    "POST",
    "/v1/usage/entries/{entry_id}/corrections",
    operation_id="correctUsageEntry",
    scopes=(Scope.ADMIN,),
    tag="usage",
    summary="Correct an entry",
    body=CorrectEntry,
    answers={
        201: Answer(
            description="The correction: a further entry, with the differences.",
            struct=UsageEntryView,
            headers=(headers.LOCATION, headers.IDEMPOTENCY_REPLAYED),
        )
    },
    problems=(409,),
)
async def correct_usage_entry(call: Call) -> Response[bytes]:
    """State what is right; a further entry of signed differences makes the call come to that.

    The entry itself never changes, and totals move in the same transaction. A correction cannot be corrected:
    correct the original again. Correcting to what the call comes to already is refused.
    """
    command = await call.command(CorrectEntry)
    body = command.body
    fields = {name: getattr(body, name) for name in ("reason", *METERS)}
    result = await call.store.corrections.correct(
        command.caller,
        call.path("entry_id"),
        Corrected(**fields, cost=None if body.cost is None else Decimal(body.cost)),
        idempotency=command.idempotency,
        render=_render_correction,
    )
    if isinstance(result, Replay):
        assert result.answer is not None, "a correction makes no turn"
        return respond_stored(result.answer, is_replayed=True)
    return respond_stored(result)


@operation(
    "GET",
    "/v1/usage/summary",
    operation_id="summarizeUsage",
    scopes=(Scope.USAGE_READ,),
    callers="named_organization",
    tag="usage",
    summary="Sum the ledger",
    query=UsageSummaryQuery,
    answers={200: Answer(description="The sums, by group.", struct=UsageSummary)},
)
async def summarize_usage(call: Call) -> Response[bytes]:
    """Sums by day, model, agent, session, API key, purpose and outcome, in the order of these dimensions.

    What turns on the line have cost is told apart from what discarded futures have cost, as they stand now.
    All pages of one summary are over the same entries, up to `head`.
    """
    query = call.query(UsageSummaryQuery)
    group_by = () if query.group_by is None else tuple(query.group_by.split(","))
    scope = f"usage-summary?{query.since}&{query.until}&{query.tz}&{sorted(set(group_by))}"
    head, offset = None, 0
    if query.page_token is not None:
        head, offset = divmod(read_integer(query.page_token, scope=scope), _GROUPS_MAX)
    summary = await call.store.summaries.summary(
        call.caller,
        since=query.since,
        until=query.until,
        time_zone=query.tz,
        group_by=group_by,
        head=head,
        offset=offset,
        limit=query.limit,
    )
    token = None
    if not summary.is_last:
        token = write_page_token(summary.head * _GROUPS_MAX + offset + query.limit, scope=scope)
    return respond(
        UsageSummary(
            items=tuple(summary_group(group) for group in summary.groups),
            next_page_token=token,
            head=summary.head,
            time_zone=query.tz,
        )
    )


@operation(
    "GET",
    "/v1/usage/export",
    operation_id="exportUsage",
    scopes=(Scope.USAGE_READ,),
    callers="named_organization",
    tag="usage",
    summary="Download the ledger",
    query=UsageExportQuery,
    answers={
        200: Answer(
            description="The entries, one a line, by `seq`.",
            files=tuple(usage_files.MEDIA_TYPES.values()),
            headers=(headers.LEDGER_HEAD,),
        )
    },
)
async def export_usage(call: Call) -> Response[bytes]:
    """All entries behind `after` that are there now, as CSV or JSON Lines.

    The file ends with the entry whose `seq` is in the header field `Turnledger-Ledger-Head`; one that breaks
    off before is continued with `after`.
    """
    query = call.query(UsageExportQuery)
    store, caller = call.store, call.caller
    head = (await store.reading.usage_totals(caller)).last_seq

    async def pieces() -> AsyncIterator[bytes]:
        if top := usage_files.heading(query.format):
            yield top
        rest = usage_files.written(
            store, caller, form=query.format, after=query.after, head=head, session_id=query.session_id
        )
        async for piece in rest:
            yield piece

    return Download(
        call,
        pieces(),
        place=None if call.request.method == "HEAD" else Place(call),
        media_type=usage_files.MEDIA_TYPES[query.format],
        name=f"usage-{query.after + 1}-{head}.{query.format}",
        fields={"Turnledger-Ledger-Head": str(head)},
    )


OPERATIONS = (
    list_usage_entries,
    list_usage_heads,
    get_usage_entry,
    correct_usage_entry,
    summarize_usage,
    export_usage,
)


def _render_correction(entry: UsageEntry) -> StoredAnswer:
    return StoredAnswer(
        status=201,
        headers={"Location": f"/v1/usage/entries/{entry.id}"},
        body=msgspec.json.encode(usage_entry_view(entry)),
    )
