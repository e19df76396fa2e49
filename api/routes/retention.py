"""How long an organization's text is kept."""

from typing import Annotated

import msgspec
from litestar import Response
from msgspec import Meta

from api.routes.answers import respond
from api.routes.calls import Call
from api.routes.operations import Answer, operation
from api.store.retention import RetentionPolicy
from api.store.scopes import Scope


class PutRetention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Set how long the text of sessions is kept."""

    content_days: Annotated[int, Meta(ge=0, le=36_500)] | None
    """Days since a session's last change; 0: none after its turn; null: until somebody deletes it."""


@operation(
    "GET",
    "/v1/organization/retention",
    operation_id="getRetention",
    tag="organization",
    summary="How long is text kept?",
    scopes=(Scope.ADMIN,),
    answers={200: Answer(description="The policy.", struct=RetentionPolicy)},
)
async def get_retention(call: Call) -> Response[bytes]:
    """`content_days` is null while text is kept until somebody deletes it."""
    return respond(await call.store.retention.policy(call.caller))


@operation(
    "PUT",
    "/v1/organization/retention",
    operation_id="putRetention",
    tag="organization",
    summary="Set how long text is kept",
    body=PutRetention,
    scopes=(Scope.ADMIN,),
    answers={200: Answer(description="The policy.", struct=RetentionPolicy)},
)
async def put_retention(call: Call) -> Response[bytes]:
    """Sessions that have not changed for so many days are deleted: their text goes, the ledger stays.

    With 0 a session is deleted a minute after its turn has ended, unless it goes on before. It takes a minute
    or so for a new policy to begin, and what has been deleted by it cannot be brought back.
    """
    command = await call.command(PutRetention)
    policy = await call.store.retention.set_policy(command.caller, content_days=command.body.content_days)
    return respond(policy)


OPERATIONS = (get_retention, put_retention)
