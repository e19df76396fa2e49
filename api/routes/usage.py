"""The ledger, for billing."""

from litestar import Response

from api.routes.answers import respond
from api.routes.calls import Call
from api.routes.operations import Answer, operation
from api.routes.schemas.queries import UsageEntriesQuery
from api.routes.schemas.usage import UsageHead, UsageHeads, UsagePage, usage_entry_view
from api.session import ids
from api.store.scopes import Scope


@operation(
    "GET",
    "/v1/usage/entries",
    operation_id="listUsageEntries",
    tag="usage",
    scopes=(Scope.USAGE_READ,),
    summary="Read the ledger",
    query=UsageEntriesQuery,
    answers={200: Answer(description="Entries by `seq`.", struct=UsagePage)},
)
async def list_usage_entries(call: Call) -> Response[bytes]:
    """Every model call exactly once, in commit order and without gaps.

    Ask again with `after` set to `next` while `next` is lower than `head`.
    """
    query = call.query(UsageEntriesQuery)
    entries, head = await call.store.reading.usage_entries(
        call.caller, after=query.after, session_id=query.session_id, limit=query.limit
    )
    last = entries[-1].seq if entries else query.after
    # Of one session alone there may be no further entry up to the head, which an empty page then says.
    is_end = query.session_id is not None and len(entries) < query.limit
    return respond(
        UsagePage(
            items=tuple(usage_entry_view(entry) for entry in entries),
            next=max(last, head) if is_end else last,
            head=max(last, head) if entries else head,
        )
    )


@operation(
    "GET",
    "/v1/usage/heads",
    operation_id="listUsageHeads",
    tag="usage",
    scopes=(Scope.USAGE_READ,),
    summary="How far the ledger has come",
    answers={200: Answer(description="The ledgers that the key may read.", struct=UsageHeads)},
)
async def list_usage_heads(call: Call) -> Response[bytes]:
    """One for the organization of the key."""
    totals = await call.store.reading.usage_totals(call.caller)
    organization_id = ids.to_wire(ids.Kind.ORGANIZATION, call.caller.organization_id)
    return respond(UsageHeads(items=(UsageHead(organization_id=organization_id, head=totals.last_seq),)))


OPERATIONS = (list_usage_entries, list_usage_heads)
