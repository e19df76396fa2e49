"""Whatever goes wrong in a call, the answer is a problem document; what nobody foresaw is logged."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap
from loguru import logger

from api.routes.api_error import ApiError
from api.routes.errors import (
    AgentDiffers,
    AlreadyHere,
    BudgetExceeded,
    IdempotencyKeyReused,
    Invalid,
    KeyNotInForce,
    NotFound,
    NothingToCorrect,
    PriceSuperseded,
    RequestInFlight,
    SecretsUnavailable,
    TooManySecrets,
    Unavailable,
    status_of,
)
from api.routes.problems import MEDIA_TYPE, Fault, Problem, describe
from api.routes.stale import StaleRevision
from api.session.errors import CommandRefused
from api.store import errors as store
from api.telemetry import measures


def answer(
    problem: Problem,
    *,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, Any] | None = None,
) -> Response[bytes]:
    """Put a problem document, with further members (RFC 9457 3.2), into a response that nobody may store."""
    measures.ERRORS.labels(where="http", code=problem.code).inc()
    document = {**(members or {}), **msgspec.to_builtins(problem)}
    return Response(
        content=msgspec.json.encode(document),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def handle_api_error(_: Request[Any, Any, Any], error: ApiError) -> Response[bytes]:
    """Answer an error that the HTTP layer raised on purpose."""
    if isinstance(error, StaleRevision):
        measures.CONFLICTS.inc()
    return answer(error.problem(status=status_of(error)), headers=error.headers)


def handle_store_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer what the store says in the words of the HTTP layer."""
    match error:
        case store.NotFound():
            return handle_api_error(request, NotFound())
        case store.KeyReused():
            return handle_api_error(request, IdempotencyKeyReused())
        case store.KeyNotInForce():
            return handle_api_error(request, KeyNotInForce())
        case store.RequestInFlight():
            return handle_api_error(request, RequestInFlight())
        case store.NothingToCorrect():
            return handle_api_error(request, NothingToCorrect())
        case store.Inconsistent():
            message = f"would be more than {error.whole}"
            fault = Fault(pointer=f"/{error.part}", message=message, code="out-of-range")
            return handle_api_error(request, Invalid((fault,)))
        case store.BudgetExceeded():
            return handle_api_error(request, BudgetExceeded(error.budget))
        case store.PriceSuperseded():
            return handle_api_error(request, PriceSuperseded(error.valid_from))
        case store.PriceInThePast():
            message = f"may be at most {error.seconds_max} s in the past"
            fault = Fault(pointer="/valid_from", message=message, code="out-of-range")
            return handle_api_error(request, Invalid((fault,)))
        case store.UnknownTimeZone():
            pointer = "?tz" if request.method in ("GET", "HEAD") else "/time_zone"
            fault = Fault(pointer=pointer, message="is no known time zone", code="not-allowed")
            return handle_api_error(request, Invalid((fault,)))
        case store.SecretsUnavailable():
            return handle_api_error(request, SecretsUnavailable(_sentence(str(error))))
        case store.TooManySecrets():
            return handle_api_error(request, TooManySecrets(_sentence(str(error))))
        case store.RevisionConflict():
            return handle_api_error(request, StaleRevision.of(error))
        case store.DraftConflict():
            return handle_api_error(request, StaleRevision.of_draft(error))
        case store.FileRefused():
            faults = (
                Fault(pointer=fault.pointer, message=fault.message[:500], code="not-allowed")
                for fault in error.faults
            )
            return handle_api_error(request, Invalid(tuple(faults)))
        case store.AlreadyHere():
            return handle_api_error(request, AlreadyHere(error.what))
        case store.AgentDiffers():
            return handle_api_error(request, AgentDiffers(agent_id=error.agent_id, version=error.version))
        case _:
            return handle_unforeseen(request, error)


def handle_refusal(_: Request[Any, Any, Any], error: CommandRefused) -> Response[bytes]:
    """Answer a refusal of the core: its code, its sentence, and its fields as members of the document."""
    problem = describe(code=error.code, status=status_of(error), detail=_sentence(str(error)))
    return answer(problem, members=vars(error))


def handle_outage(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer for a database that cannot take the call now; it may be sent again."""
    logger.opt(exception=error).warning(
        "database did not answer", method=request.method, operation=_operation(request)
    )
    detail = "The database does not answer or takes no writes; send the call again."
    return handle_api_error(request, Unavailable(detail))


def handle_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Answer what Litestar refused itself: no such route, no such method, a body beyond its own limit."""
    if error.status_code == HTTPStatus.NOT_FOUND:
        return handle_api_error(request, NotFound())
    if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return handle_unforeseen(request, error)
    phrase = HTTPStatus(error.status_code).phrase
    code = phrase.lower().replace(" ", "-")
    problem = describe(code=code, status=error.status_code, detail=f"{phrase}.")
    return answer(problem, headers=error.headers)


def handle_unforeseen(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Log an error that nobody foresaw, and answer 500 with nothing of its inside.

    The answer's `instance` is in the log line, so that a report from outside finds the traceback.
    """
    instance = uuid4().urn
    logger.opt(exception=error).error(
        "request failed", instance=instance, method=request.method, operation=_operation(request)
    )
    problem = describe(
        code="internal-error",
        status=500,
        detail="Something went wrong on our side; it is in our log under `instance`.",
        instance=instance,
    )
    return answer(problem)


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    ApiError: handle_api_error,
    store.NotFound: handle_store_error,
    store.RevisionConflict: handle_store_error,
    store.DraftConflict: handle_store_error,
    store.KeyReused: handle_store_error,
    store.KeyNotInForce: handle_store_error,
    store.NothingToCorrect: handle_store_error,
    store.Inconsistent: handle_store_error,
    store.UnknownTimeZone: handle_store_error,
    store.PriceSuperseded: handle_store_error,
    store.BudgetExceeded: handle_store_error,
    store.PriceInThePast: handle_store_error,
    store.RequestInFlight: handle_store_error,
    store.FileRefused: handle_store_error,
    store.AlreadyHere: handle_store_error,
    store.AgentDiffers: handle_store_error,
    store.SecretsUnavailable: handle_store_error,
    store.TooManySecrets: handle_store_error,
    CommandRefused: handle_refusal,
    HTTPException: handle_http_exception,
    **dict.fromkeys(store.OUTAGES, handle_outage),
    Exception: handle_unforeseen,
}
"""For the application: whatever goes wrong, the answer is a problem document."""


def _operation(request: Request[Any, Any, Any]) -> str | None:
    """Which operation was called; not its path, which is whatever a caller has sent."""
    name: str | None = getattr(request.scope.get("route_handler"), "name", None)
    return name


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."
