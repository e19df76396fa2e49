"""OpenAPI 3.1, built from the declared operations and the wire structs: same input, same bytes."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec

from api.routes import headers
from api.routes.headers import Header
from api.routes.negotiation import EVENT_STREAM
from api.routes.operations import PATH_PARAMETERS, Answer, Operation
from api.routes.problems import MEDIA_TYPE as PROBLEM_JSON
from api.routes.problems import (
    BudgetProblem,
    ConflictProblem,
    InFlightProblem,
    InvalidProblem,
    Problem,
    RateProblem,
    ScopeProblem,
)
from api.routes.schema_components import components, inline, structs_within

SECURITY_SCHEME = "apiKey"
INSTALLATION_ROLE = "installation"
"""What keys of the installation are, where others have scopes."""

_INFO = "Revisioned chat sessions that can be rewound, resumed and billed to the token."

_STREAM = (
    "Server-sent events: `id`, to go on from by `Last-Event-ID`; `event`, one of the names in `x-events`; "
    "`data`, JSON of the shape there. A comment line shows now and then that the stream is alive. `end` is "
    "the last event of a stream that is over; one that breaks off without it is continued."
)

_KEY = (
    "An API key of an organization: `Authorization: Bearer <key>`. What it may do is in its scopes; each "
    "operation names those of which it needs one; `installation` stands for keys of the installation."
)

_TAGS = {
    "sessions": "Sessions: one document under one revision.",
    "turns": "Turns: one exchange each, and the futures that were discarded.",
    "agents": "Agents and their published versions.",
    "usage": "The ledger: every model call exactly once.",
    "organizations": "Organizations: the paying customers; for keys of the installation.",
    "organization": "What an organization has set for itself.",
    "api-keys": "API keys: who may call, and for what.",
    "health": "Whether the service is up.",
}

_PROBLEMS: dict[int, tuple[str, type[Problem] | tuple[type[Problem], ...]]] = {
    400: ("A header, a page token or the JSON text cannot be read, or preconditions contradict.", Problem),
    401: ("The API key is missing or not known.", Problem),
    402: ("A budget is used up.", BudgetProblem),
    403: ("The API key is good, but not for this; `scope` names what is missing.", (ScopeProblem, Problem)),
    404: ("Nothing here that the caller may see: missing, or another organization's.", Problem),
    409: (
        "Not allowed now, or the session is not at `expected_revision`.",
        (ConflictProblem, InFlightProblem, Problem),
    ),
    412: ("The session is not at the revision in `If-Match`.", ConflictProblem),
    413: ("The body is too large.", Problem),
    415: ("The body is in a form that this operation does not read.", Problem),
    422: (
        "The input is not valid; `errors` names every fault. Or the idempotency key was used before.",
        (InvalidProblem, Problem),
    ),
    428: ("A call that changes the document must state the revision that it has judged.", Problem),
    429: ("The API key has been used as much as it may; `violated_policies` names the limit.", RateProblem),
    500: ("Something went wrong on our side; `instance` finds it in the log.", Problem),
    503: ("The service cannot answer now; send the call again later.", Problem),
}

_PROBLEM_HEADERS = {
    401: (headers.WWW_AUTHENTICATE,),
    403: (headers.WWW_AUTHENTICATE,),
    412: (headers.ETAG,),
    429: (headers.RETRY_AFTER, headers.RATE_LIMIT, headers.RATE_LIMIT_POLICY),
    503: (headers.RETRY_AFTER,),
}


def build(operations: Iterable[Operation], *, version: str = "1") -> dict[str, Any]:
    """Write the OpenAPI document of `operations`; `version` is that of the API, not of the software.

    Raises:
        ValueError: two operations have one id, or one place.
    """
    ordered = sorted(operations, key=lambda operation: (operation.path, operation.method))
    _check_unique(ordered)
    paths: dict[str, dict[str, Any]] = {}
    for operation in ordered:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    tags = sorted({operation.tag for operation in ordered})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Turnledger",
            "version": version,
            "summary": _INFO,
            "description": (
                "Every answer that is not a success is a problem document (RFC 9457) with a stable `code`. "
                "A write states the revision that it has judged; a stale one is told what has changed."
            ),
        },
        "servers": [{"url": "/"}],
        "security": [{SECURITY_SCHEME: []}],
        "tags": [{"name": tag, **({"description": _TAGS[tag]} if tag in _TAGS else {})} for tag in tags],
        "paths": paths,
        "components": {
            "schemas": _schemas(ordered),
            "securitySchemes": {
                SECURITY_SCHEME: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": _KEY,
                }
            },
        },
    }


def encode(document: dict[str, Any]) -> bytes:
    """Write the document as the exported file: indented, with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _operation(operation: Operation) -> dict[str, Any]:
    written: dict[str, Any] = {
        "operationId": operation.operation_id,
        "tags": [operation.tag],
        "summary": operation.summary,
    }
    if operation.description:
        written["description"] = operation.description
    if parameters := _parameters(operation):
        written["parameters"] = parameters
    if operation.body is not None:
        content = {
            media_type: {"schema": inline(operation.body)} for media_type in operation.body_media_types
        }
        written["requestBody"] = {"required": operation.has_required_body, "content": content}
    responses = {str(status): _answer(answer) for status, answer in sorted(operation.answers.items())}
    responses |= {str(status): _problem(status) for status in operation.problem_statuses}
    written["responses"] = responses
    # Of several requirements one is enough; the names are roles of the key (OpenAPI 3.1).
    roles = () if operation.is_public else _roles(operation)
    written["security"] = [{SECURITY_SCHEME: [role]} for role in roles]
    return written


def _roles(operation: Operation) -> tuple[str, ...]:
    """What a key must be, one of these: made for a scope, or of the installation."""
    scopes = tuple(scope.value for scope in operation.opening_scopes)
    return scopes if operation.callers == "organization" else (*scopes, INSTALLATION_ROLE)


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    written: list[dict[str, Any]] = []
    for name in operation.path_parameters:
        hint, description = PATH_PARAMETERS[name]
        written.append(
            {"name": name, "in": "path", "required": True, "description": description, "schema": inline(hint)}
        )
    if operation.query is not None:
        schema = components((operation.query,))[operation.query.__name__]
        required = schema.get("required", ())
        for name, field in schema["properties"].items():
            parameter = {"name": name, "in": "query", "required": name in required}
            if "description" in field:
                parameter["description"] = field.pop("description")
            written.append({**parameter, "schema": _without_null(field)})
    if operation.callers == "named_organization":
        written.append(
            {
                "name": "organization",
                "in": "query",
                "required": False,
                "description": "The organization that is meant; keys of the installation must say it.",
                "schema": inline(PATH_PARAMETERS["organization_id"][0]),
            }
        )
    for header in operation.all_request_headers:
        is_required = (
            header is headers.IF_MATCH
            and operation.precondition == "required"
            and not _has_revision(operation)
        )
        written.append(
            {
                "name": header.name,
                "in": "header",
                "required": is_required,
                "description": header.description,
                "schema": inline(header.hint),
            }
        )
    return written


def _has_revision(operation: Operation) -> bool:
    """The body can state the revision instead of the header."""
    return operation.body is not None and "expected_revision" in operation.body.__struct_fields__


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query parameter is left out, never null."""
    match schema.get("type"):
        case [kind, "null"]:
            enum = (
                {"enum": [value for value in schema["enum"] if value is not None]} if "enum" in schema else {}
            )
            return {**schema, "type": kind, **enum}
    return schema


def _answer(answer: Answer) -> dict[str, Any]:
    written: dict[str, Any] = {"description": answer.description}
    if answer.headers:
        written["headers"] = _headers(answer.headers)
    if answer.struct is not None:
        written["content"] = {answer.media_type: {"schema": _any_of(answer.structs)}}
    for media_type in answer.files:
        written.setdefault("content", {})[media_type] = {"schema": {"type": "string"}}
    if answer.streams:
        written.setdefault("content", {})[EVENT_STREAM] = _stream(answer.streams)
    return written


def _stream(events: dict[str, Any]) -> dict[str, Any]:
    """Describe an event stream; OpenAPI 3.1 has no words for its events, so an extension names their data."""
    return {
        "schema": {"type": "string", "description": _STREAM},
        "x-events": {name: inline(struct) for name, struct in events.items()},
    }


def _problem(status: int) -> dict[str, Any]:
    description, shapes = _PROBLEMS.get(status, (f"{HTTPStatus(status).phrase}.", Problem))
    schema = _any_of(shapes if isinstance(shapes, tuple) else (shapes,))
    written: dict[str, Any] = {"description": description}
    if status in _PROBLEM_HEADERS:
        written["headers"] = _headers(_PROBLEM_HEADERS[status])
    return {**written, "content": {PROBLEM_JSON: {"schema": schema}}}


def _any_of(structs: tuple[Any, ...]) -> dict[str, Any]:
    schemas = [inline(struct) for struct in structs]
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _headers(used: tuple[Header, ...]) -> dict[str, Any]:
    return {
        header.name: {"description": header.description, "schema": inline(header.hint)}
        for header in sorted(used, key=lambda header: header.name)
    }


def _schemas(operations: list[Operation]) -> dict[str, Any]:
    asked = tuple(operation.body for operation in operations if operation.body is not None)
    answered = tuple(
        dict.fromkeys(
            struct
            for operation in operations
            for answer in operation.answers.values()
            for struct in (*answer.structs, *answer.streams.values())
        )
    )
    problems = (
        *(Problem, InvalidProblem, ConflictProblem, InFlightProblem),
        *(ScopeProblem, BudgetProblem, RateProblem),
    )
    schemas = components((*dict.fromkeys(asked), *answered, *problems))
    only_answered = structs_within((*answered, *problems)).keys() - structs_within(asked).keys()
    structs = structs_within((*asked, *answered, *problems))
    for name in only_answered & schemas.keys():
        _promise(schemas[name], structs[name])
    return schemas


def _promise(schema: dict[str, Any], struct: type[msgspec.Struct]) -> None:
    """Say of an answer what its struct means when it is written, not when it is read.

    Fields with a default are always there unless the struct leaves defaults out, or the default is to be
    missing; and a later release may add fields, so a client must not refuse those that it does not know.
    """
    schema.pop("additionalProperties", None)
    for field in schema["properties"].values():
        field.pop("default", None)
    if not struct.__struct_config__.omit_defaults:
        fields = msgspec.structs.fields(struct)
        schema["required"] = [field.encode_name for field in fields if field.default is not msgspec.UNSET]


def _check_unique(operations: list[Operation]) -> None:
    seen: set[object] = set()
    for operation in operations:
        for key in (operation.operation_id, (operation.path, operation.method)):
            if key in seen:
                raise ValueError(f"declared twice: {key}")
            seen.add(key)
