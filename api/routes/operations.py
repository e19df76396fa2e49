"""What an operation is: declared once, served by Litestar and published as OpenAPI from the same record.

Handlers read and judge the body themselves, because what is visible is checked before what is valid; so
neither the schema nor the checks can come from Litestar's inference.
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta

from api.routes import headers
from api.routes.body import JSON
from api.routes.headers import Header
from api.store.scopes import Scope

Handler: TypeAlias = Callable[[Any], Awaitable[Response[bytes]]]
"""Given what `route_handlers` makes of a request."""
Method: TypeAlias = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")

_WIRE_ID = Annotated[str, Meta(min_length=1, max_length=64)]
_NUMBER = Annotated[int, Meta(ge=1, le=2**31 - 1)]

PATH_PARAMETERS: dict[str, tuple[Any, str]] = {
    "session_id": (_WIRE_ID, "The session's id, `ses_...`."),
    "turn_id": (_WIRE_ID, "The turn's id, `trn_...`."),
    "entry_id": (_WIRE_ID, "The ledger entry's id, `use_...`."),
    "agent_id": (_WIRE_ID, "The agent's id, `agt_...`."),
    "approval_id": (_WIRE_ID, "The approval's id, `apv_...`."),
    "key_id": (_WIRE_ID, "The API key's id, `key_...`."),
    "rule_id": (_WIRE_ID, "The approval rule's id, `rul_...`."),
    "interaction_id": (_WIRE_ID, "The interaction's id, `stp_...`, or `int_...` of a captured call."),
    "ordinal": (_NUMBER, "The discarded future's ordinal."),
    "secret_name": (_WIRE_ID, "The secret's name."),
    "version": (_NUMBER, "The published version."),
}
"""What each placeholder of a path stands for. One that names nothing gets 404, whatever its form."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which an operation succeeds."""

    description: str
    struct: Any = None
    """What the body is, or a tuple of what it may be; None for an answer without one."""
    media_type: str = JSON
    files: tuple[str, ...] = ()
    """The media types of a file that is sent in the place of a struct."""
    streams: dict[str, Any] = {}
    """What the events of a stream are, by their type, where the caller may ask for `text/event-stream`."""
    headers: tuple[Header, ...] = ()

    @property
    def structs(self) -> tuple[Any, ...]:
        """All that the body may be."""
        if self.struct is None:
            return ()
        return self.struct if isinstance(self.struct, tuple) else (self.struct,)


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method on one path."""

    method: Method
    path: str
    """With placeholders as in `/v1/sessions/{session_id}`."""
    operation_id: str
    """Verb and noun, as in `rewindSession`; never changed once published."""
    tag: str
    summary: str
    description: str
    answers: dict[int, Answer]
    handler: Handler
    body: type[msgspec.Struct] | None = None
    body_media_types: tuple[str, ...] = (JSON,)
    query: type[msgspec.Struct] | None = None
    request_headers: tuple[Header, ...] = ()
    """Beside those that the other fields imply."""
    precondition: Literal["none", "optional", "required"] = "none"
    """Whether a revision may or must be stated."""
    problems: tuple[int, ...] = ()
    """Statuses beside those that the other fields imply."""
    is_public: bool = False
    """Answered without an API key."""
    scopes: tuple[Scope, ...] = ()
    """Any of these opens it to a key. Without one, by mistake, only `admin` does: see `opening_scopes`."""

    @property
    def opening_scopes(self) -> tuple[Scope, ...]:
        """The scopes of which a key must have one."""
        return self.scopes or (Scope.ADMIN,)

    @property
    def path_parameters(self) -> tuple[str, ...]:
        """The placeholders of the path, in order."""
        return tuple(_PLACEHOLDER.findall(self.path))

    @property
    def takes_idempotency_key(self) -> bool:
        """Every POST does."""
        return self.method == "POST"

    @property
    def has_required_body(self) -> bool:
        """An empty body, which is read as `{}`, is not enough."""
        if self.body is None:
            return False
        try:
            msgspec.convert({}, self.body)
        except msgspec.ValidationError:
            return True
        return False

    @property
    def all_request_headers(self) -> tuple[Header, ...]:
        """All that the operation reads, in order of name."""
        found = set(self.request_headers)
        if self.precondition != "none":
            found.add(headers.IF_MATCH)
        if self.takes_idempotency_key:
            found.add(headers.IDEMPOTENCY_KEY)
        if self.method != "GET" and not self.is_public:
            found.add(headers.ON_BEHALF_OF)
        return tuple(sorted(found, key=lambda header: header.name))

    @property
    def problem_statuses(self) -> tuple[int, ...]:
        """Every status of a problem that a caller may see, in order."""
        found = {500, 503, *self.problems}
        if not self.is_public:
            found |= {401, 403}
        if self.path_parameters:
            found.add(404)
        if self.query is not None:
            found.add(422)
            if "page_token" in self.query.__struct_fields__:
                found.add(400)
        if self.body is not None:
            found |= {400, 413, 415, 422}
        if self.precondition != "none":
            found |= {400, 409, 412}
        if self.precondition == "required":
            found.add(428)
        if self.takes_idempotency_key:
            found |= {400, 409, 422}
        if headers.ON_BEHALF_OF in self.all_request_headers:
            found.add(400)
        return tuple(sorted(found))


def operation(
    method: Method,
    path: str,
    *,
    operation_id: str,
    tag: str,
    summary: str,
    answers: dict[int, Answer],
    **more: Any,
) -> Callable[[Handler], Operation]:
    """Declare the decorated handler as an operation; its docstring becomes the description.

    `more` are further fields of `Operation`.
    """

    def declare(handler: Handler) -> Operation:
        return Operation(
            method=method,
            path=path,
            operation_id=operation_id,
            tag=tag,
            summary=summary,
            description=_paragraphs(handler.__doc__ or ""),
            answers=answers,
            handler=handler,
            **more,
        )

    return declare


Serve: TypeAlias = Callable[[Operation, Request[Any, Any, Any]], Awaitable[Response[bytes]]]


async def serve_plainly(operation: Operation, request: Request[Any, Any, Any]) -> Response[bytes]:
    """Hand the request to the handler as it is."""
    return await operation.handler(request)


def route_handlers(operations: Iterable[Operation], serve: Serve = serve_plainly) -> list[HTTPRouteHandler]:
    """Make the route of every operation. A GET is also answered as HEAD (RFC 9110 9.3.2)."""
    return [_route(operation, serve) for operation in operations]


def _route(operation: Operation, serve_operation: Serve) -> HTTPRouteHandler:
    async def serve(request: Request[Any, Any, Any]) -> Response[bytes]:
        return await serve_operation(operation, request)

    # Strings throughout: what is not of the form of an id or number is answered like a missing thing.
    path = _PLACEHOLDER.sub(r"{\1:str}", operation.path)
    methods: tuple[Method | Literal["HEAD"], ...] = (operation.method,)
    if operation.method == "GET":
        methods = ("GET", "HEAD")
    return HTTPRouteHandler(
        path,
        http_method=methods,
        status_code=200,
        name=operation.operation_id,
        include_in_schema=False,
        # `read_body` has the limit, which comes from the settings.
        request_max_body_size=None,
    )(serve)


def _paragraphs(docstring: str) -> str:
    """Join the lines of each paragraph, so that the text reads the same however the source is wrapped."""
    blocks = re.split(r"\n\s*\n", docstring.strip())
    return "\n\n".join(" ".join(block.split()) for block in blocks)
