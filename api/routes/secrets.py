"""Secrets of the organization, which its tools send along and nobody is shown."""

import msgspec
from litestar import Response

from api.routes.answers import respond
from api.routes.calls import Call
from api.routes.operations import Answer, operation
from api.routes.schemas.secrets import PutSecret, SecretList, SecretView
from api.store.scopes import Scope


@operation(
    "GET",
    "/v1/secrets",
    operation_id="listSecrets",
    scopes=(Scope.ADMIN,),
    tag="secrets",
    summary="List secrets",
    answers={200: Answer(description="All secrets, without their values.", struct=SecretList)},
)
async def list_secrets(call: Call) -> Response[bytes]:
    """By name; there are at most 200."""
    found = await call.store.secrets.secrets(call.caller)
    return respond(SecretList(items=tuple(SecretView(**msgspec.structs.asdict(secret)) for secret in found)))


@operation(
    "PUT",
    "/v1/secrets/{secret_name}",
    operation_id="putSecret",
    scopes=(Scope.ADMIN,),
    tag="secrets",
    summary="Store a secret",
    body=PutSecret,
    answers={200: Answer(description="The secret, without its value.", struct=SecretView)},
    problems=(409,),
)
async def put_secret(call: Call) -> Response[bytes]:
    """The one of this name is replaced, so the same call may be sent again.

    Definitions name it as `{{secrets.name}}`. Sessions that run use the new value from their next call on.
    """
    command = await call.command(PutSecret)
    secret = await call.store.secrets.put(command.caller, call.path("secret_name"), command.body.value)
    return respond(SecretView(**msgspec.structs.asdict(secret)))


@operation(
    "DELETE",
    "/v1/secrets/{secret_name}",
    operation_id="deleteSecret",
    scopes=(Scope.ADMIN,),
    tag="secrets",
    summary="Remove a secret",
    answers={204: Answer(description="It is gone.")},
)
async def delete_secret(call: Call) -> Response[bytes]:
    """Tools that name it fail from now on, and say so."""
    command = call.bare_command()
    await call.store.secrets.delete(command.caller, call.path("secret_name"))
    return Response(content=b"", status_code=204, headers={"Cache-Control": "no-store"})


OPERATIONS = (list_secrets, put_secret, delete_secret)
