"""API keys: made, listed, rotated and revoked by keys with the scope `admin`."""

from datetime import datetime, timedelta

import msgspec
from litestar import Response

from api.routes import headers
from api.routes.answers import respond, respond_stored
from api.routes.calls import Call
from api.routes.errors import Invalid, MissingScope
from api.routes.operations import Answer, operation
from api.routes.paging import read_uuid, write_page_token
from api.routes.problems import Fault
from api.routes.schemas.api_keys import (
    CreateKey,
    KeyPage,
    KeyView,
    NewKeyView,
    RotateKey,
    key_view,
    new_key_view,
)
from api.routes.schemas.queries import PageQuery
from api.store import Caller, Replay, StoredAnswer
from api.store.base import utc_now
from api.store.keys import Issued, Key
from api.store.scopes import Scope

_LIFE_MAX = timedelta(days=36_500)
_ONCE = "The key with its secret, which is shown in no other answer."


@operation(
    "POST",
    "/v1/api-keys",
    operation_id="createApiKey",
    tag="api-keys",
    summary="Make an API key",
    scopes=(Scope.ADMIN,),
    body=CreateKey,
    answers={
        201: Answer(
            description=_ONCE,
            struct=NewKeyView,
            headers=(headers.LOCATION, headers.IDEMPOTENCY_REPLAYED),
        )
    },
)
async def create_api_key(call: Call) -> Response[bytes]:
    """A key of the same organization, with no scope that the calling key lacks.

    The secret is kept nowhere, so a repetition with the same `Idempotency-Key` makes no other key but answers
    without it: `secret` is null.
    """
    command = await call.command(CreateKey)
    body = command.body
    _require_end_ahead(body.expires_at)
    scopes = frozenset(body.scopes)
    _require_all(command.caller, scopes)
    result = await call.store.access.issue_key(
        command.caller,
        name=body.name,
        scopes=scopes,
        expires_at=body.expires_at,
        idempotency=command.idempotency,
        render=lambda key: _answer(key, secret=None, status=201),
    )
    return _respond(result, status=201)


@operation(
    "GET",
    "/v1/api-keys",
    operation_id="listApiKeys",
    tag="api-keys",
    summary="List the API keys",
    scopes=(Scope.ADMIN,),
    query=PageQuery,
    answers={200: Answer(description="A page of keys.", struct=KeyPage)},
)
async def list_api_keys(call: Call) -> Response[bytes]:
    """Newest first, with those that are revoked or expired."""
    query = call.query(PageQuery)
    found = await call.store.access.key_page(
        call.caller,
        before=None if query.page_token is None else read_uuid(query.page_token, scope="api-keys"),
        limit=query.limit + 1,
    )
    page = found[: query.limit]
    next_token = write_page_token(page[-1][0], scope="api-keys") if len(found) > len(page) else None
    return respond(KeyPage(items=tuple(key_view(key) for _, key in page), next_page_token=next_token))


@operation(
    "GET",
    "/v1/api-keys/{key_id}",
    operation_id="getApiKey",
    tag="api-keys",
    summary="Read an API key",
    scopes=(Scope.ADMIN,),
    answers={200: Answer(description="The key, without its secret.", struct=KeyView)},
)
async def get_api_key(call: Call) -> Response[bytes]:
    """What is known of it; in force, expired or revoked."""
    return respond(key_view(await call.store.access.key(call.caller, call.path("key_id"))))


@operation(
    "DELETE",
    "/v1/api-keys/{key_id}",
    operation_id="revokeApiKey",
    tag="api-keys",
    summary="Revoke an API key",
    scopes=(Scope.ADMIN,),
    answers={204: Answer(description="It is refused; by every process within 5 seconds.")},
)
async def revoke_api_key(call: Call) -> Response[bytes]:
    """Streams that it has opened end. It stays on record; revoking it again changes nothing."""
    command = call.bare_command()
    await call.store.access.withdraw_key(command.caller, call.path("key_id"))
    return Response(content=b"", status_code=204, headers={"Cache-Control": "no-store"})


@operation(
    "POST",
    "/v1/api-keys/{key_id}/rotate",
    operation_id="rotateApiKey",
    tag="api-keys",
    summary="Replace the secret of an API key",
    scopes=(Scope.ADMIN,),
    body=RotateKey,
    answers={200: Answer(description=_ONCE, struct=NewKeyView, headers=(headers.IDEMPOTENCY_REPLAYED,))},
    problems=(409,),
)
async def rotate_api_key(call: Call) -> Response[bytes]:
    """The key stays the same key, with its name, scopes and history.

    Its secret before is accepted for `overlap_seconds` more, so that its users can change over; one that was
    replaced before that is refused at once. The calling key needs every scope that the key has.
    """
    command = await call.command(RotateKey)
    key = await call.store.access.key(command.caller, call.path("key_id"))
    _require_all(command.caller, frozenset(key.scopes))
    result = await call.store.access.rotate_key(
        command.caller,
        key.id,
        overlap=timedelta(seconds=command.body.overlap_seconds),
        idempotency=command.idempotency,
        render=lambda rotated: _answer(rotated, secret=None, status=200),
    )
    return _respond(result, status=200)


OPERATIONS = (create_api_key, list_api_keys, get_api_key, revoke_api_key, rotate_api_key)


def _require_all(caller: Caller, wanted: frozenset[Scope]) -> None:
    """Let nobody give away what they do not have.

    Raises:
        MissingScope: naming the first that the caller lacks.
    """
    for scope in Scope:
        if scope in wanted and scope not in caller.scopes:
            raise MissingScope((scope,))


def _require_end_ahead(expires_at: datetime | None) -> None:
    """Refuse an end that has passed, or that no clock will see.

    Raises:
        Invalid: naming it.
    """
    if expires_at is None:
        return
    now = utc_now()
    if not now < expires_at < now + _LIFE_MAX:
        message = "must lie in the future, by less than 100 years"
        raise Invalid((Fault(pointer="/expires_at", message=message, code="out-of-range"),))


def _respond(result: Issued | Replay, *, status: int) -> Response[bytes]:
    if isinstance(result, Replay):
        assert result.answer is not None, "keys are never removed"
        return respond_stored(result.answer, is_replayed=True)
    return respond_stored(_answer(result.key, secret=result.secret, status=status))


def _answer(key: Key, *, secret: str | None, status: int) -> StoredAnswer:
    return StoredAnswer(
        status=status,
        headers={"Location": f"/v1/api-keys/{key.id}"} if status == 201 else {},
        body=msgspec.json.encode(new_key_view(key, secret)),
    )
