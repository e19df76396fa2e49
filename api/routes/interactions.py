"""Interactions: who sent what to which model, when, and at what cost."""

from litestar import Response

from api.routes.answers import respond
from api.routes.calls import Call
from api.routes.operations import Answer, operation
from api.routes.paging import read_uuid, write_page_token
from api.routes.schemas.interactions import InteractionListQuery, InteractionPage, interaction_summary
from api.store.interactions import Filters


@operation(
    "GET",
    "/v1/interactions",
    operation_id="listInteractions",
    tag="interactions",
    summary="List model calls",
    query=InteractionListQuery,
    answers={200: Answer(description="A page of interactions.", struct=InteractionPage)},
)
async def list_interactions(call: Call) -> Response[bytes]:
    """Newest first, without their text. Calls of a deleted session are not among them."""
    query = call.query(InteractionListQuery)
    found, goes_on = await call.store.interactions.listed(
        call.caller,
        Filters(
            session_id=query.session_id,
            agent_id=query.agent_id,
            client=query.client,
            project=query.project,
            since=query.since,
        ),
        before=None if query.page_token is None else read_uuid(query.page_token, scope=query.scope),
        limit=query.limit,
    )
    next_token = None if goes_on is None else write_page_token(goes_on, scope=query.scope)
    return respond(
        InteractionPage(items=tuple(interaction_summary(each) for each in found), next_page_token=next_token)
    )


OPERATIONS = (list_interactions,)
