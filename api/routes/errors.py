"""What can go wrong in a call, and how it is answered: one class per reason, one table of statuses.

    ApiError                     raised by the HTTP layer
        Malformed                a header, a token or the JSON text cannot be read     400
        ContradictingPreconditions                                                    400
        Unauthorized                                                                  401
        BudgetExceeded           no turn begins until it resets                        402
        Forbidden                see `key_errors`                                      403
        NotFound                 missing or another organization's: the same answer    404
        BodyTooLarge                                                                  413
        UnsupportedMediaType                                                          415
        Invalid                  every fault at once                                   422
        IdempotencyKeyReused                                                          422
        PreconditionRequired                                                          428
        RateLimited              the key has been used as much as it may               429
        StaleRevision            the body's `expected_revision` is not the revision    409
            PreconditionFailed   the same of `If-Match`                                412
        RequestInFlight                                                               409
        NothingToCorrect         the ledger says so already                            409
        PriceSuperseded          there is a price that begins no earlier               409
        TooManyRules             as many approval rules are in force as may            409
        TooManySecrets                                                                409
        KeyNotInForce                                                                 409
        Unavailable                                                                   503
            SecretsUnavailable                                                        503

What the core refuses (`api.session.errors`) is answered by the same table; what the store says
(`api.store.errors`) becomes the class above that means the same. `error_handlers` writes the answers.
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from api.routes.api_error import ApiError
from api.routes.problems import (
    BudgetProblem,
    Fault,
    InFlightProblem,
    InvalidProblem,
    RateProblem,
)
from api.routes.stale import PreconditionFailed, StaleRevision
from api.session.conflicts import Advice
from api.session.errors import CommandRefused, CorruptDocument, InvariantViolated
from api.store import errors as store
from api.store.base import BudgetState


class Unauthorized(ApiError):
    """No key, or none that is known."""

    code = "unauthorized"

    def __init__(self, *, is_key_given: bool) -> None:
        self.is_key_given = is_key_given
        super().__init__(
            "The API key is not known or was revoked."
            if is_key_given
            else "Send an API key: `Authorization: Bearer <key>`."
        )

    @property
    def headers(self) -> dict[str, str]:
        """The challenge (RFC 6750 3); a call without a key gets no error code."""
        error = ', error="invalid_token"' if self.is_key_given else ""
        return {"WWW-Authenticate": f'Bearer realm="turnledger"{error}'}


class Forbidden(ApiError):
    """The key is good but not for this."""

    code = "forbidden"


class BudgetExceeded(ApiError):
    """A hard limit is used up; nothing was changed."""

    code = "budget-exceeded"

    def __init__(self, budget: BudgetState) -> None:
        self.budget = budget
        super().__init__(f"T{str(store.BudgetExceeded(budget))[1:]}.")

    def problem(self, *, status: int) -> BudgetProblem:
        """Say what is spent, reserved and allowed, and when it resets."""
        budget = self.budget
        assert budget.limit is not None, "only a limit is exceeded"
        return BudgetProblem(
            **msgspec.structs.asdict(super().problem(status=status)),
            key_id=budget.key_id,
            period=budget.period,
            time_zone=budget.time_zone,
            spent=f"{budget.spent:f}",
            reserved=f"{budget.reserved:f}",
            limit=f"{budget.limit:f}",
            currency="USD",
            resets_at=budget.resets_at,
        )


class NotFound(ApiError):
    """There is nothing here that the caller may see.

    Says nothing of what was asked for, so that a foreign id and a missing one have the same answer.
    """

    code = "not-found"

    def __init__(self) -> None:
        super().__init__("There is nothing here under this address.")


class BodyTooLarge(ApiError):
    """The body is longer than the limit; it was not read to its end."""

    code = "body-too-large"

    def __init__(self, *, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        super().__init__(f"The body may have at most {limit_bytes} bytes.")

    @property
    def headers(self) -> dict[str, str]:
        """The rest of the body is not read, so the connection cannot serve another call."""
        return {"Connection": "close"}


class UnsupportedMediaType(ApiError):
    """The body is not in a form that this operation reads."""

    code = "unsupported-media-type"

    def __init__(self, *, accepted: tuple[str, ...]) -> None:
        self.accepted = accepted
        super().__init__(f"Send the body as UTF-8 with Content-Type {' or '.join(accepted)}.")


class Malformed(ApiError):
    """A header, a token or the JSON text of the call cannot be read."""


class MalformedJson(Malformed):
    """The body is not JSON."""

    code = "malformed-json"

    def __init__(self, *, reason: str, line: int, column: int) -> None:
        self.reason = reason
        self.line = line
        self.column = column
        super().__init__(f"The body is not JSON; line {line}, column {column}: {reason}.")


class MalformedPrecondition(Malformed):
    """`If-Match` is not a list of entity tags."""

    code = "malformed-precondition"

    def __init__(self) -> None:
        super().__init__(
            'If-Match takes an entity tag in double quotes, as in `"7"`, a list of them, or `*`.'
        )


class MalformedIdempotencyKey(Malformed):
    """`Idempotency-Key` is empty, too long, repeated, or not printable ASCII."""

    code = "malformed-idempotency-key"

    def __init__(self) -> None:
        super().__init__("Idempotency-Key takes 1 to 255 printable ASCII characters, once.")


class MalformedOnBehalfOf(Malformed):
    """`Turnledger-On-Behalf-Of` is too long, repeated, or not printable."""

    code = "malformed-on-behalf-of"

    def __init__(self) -> None:
        super().__init__("Turnledger-On-Behalf-Of takes at most 255 printable characters, once.")


class MalformedPageToken(Malformed):
    """`page_token` is not one that this list gave out."""

    code = "malformed-page-token"

    def __init__(self) -> None:
        super().__init__("Send `next_page_token` of the page before as it was, to the same list.")


class MalformedEventId(Malformed):
    """`Last-Event-ID` is not the id of an event."""

    code = "malformed-event-id"

    def __init__(self) -> None:
        super().__init__("Send the `id` of the last event that was received as it was.")


class ContradictingPreconditions(ApiError):
    """`If-Match` and `expected_revision` name different revisions."""

    code = "contradicting-preconditions"

    def __init__(self) -> None:
        super().__init__("If-Match and expected_revision differ; send one of them.")


class PreconditionRequired(ApiError):
    """A call that changes the document must say which revision it has judged."""

    code = "precondition-required"

    def __init__(self) -> None:
        super().__init__(
            'Send the revision that you have seen: `If-Match: "7"` or `expected_revision` in the body; '
            "`If-Match: *` if any revision will do."
        )


class Invalid(ApiError):
    """The input can be read but is not valid; carries every fault at once."""

    code = "invalid"

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self.faults = faults
        count = len(faults)
        super().__init__(f"The input has {count} fault{'' if count == 1 else 's'}; see `errors`.")

    def problem(self, *, status: int) -> InvalidProblem:
        """Write every fault with its pointer."""
        return InvalidProblem(**msgspec.structs.asdict(super().problem(status=status)), errors=self.faults)


class IdempotencyKeyReused(ApiError):
    """The key was used before, with another request."""

    code = "idempotency-key-reused"

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used with another request; a new request needs a new key.")


class RequestInFlight(ApiError):
    """A twin of this request with the same key has not finished; sending it again later gets its answer."""

    code = "request-in-flight"

    def __init__(self) -> None:
        super().__init__("A request with this Idempotency-Key is under way; send the same again in a moment.")

    @property
    def headers(self) -> dict[str, str]:
        """When to come again."""
        return {"Retry-After": "1"}

    def problem(self, *, status: int) -> InFlightProblem:
        """Say that the same call may be sent again."""
        return InFlightProblem(**msgspec.structs.asdict(super().problem(status=status)), retry=Advice.REPLAY)


class NothingToCorrect(ApiError):
    """The entry comes to the figures of the correction already; nothing was written."""

    code = "nothing-to-correct"

    def __init__(self) -> None:
        super().__init__("The entry with its corrections comes to these figures already.")


class PriceSuperseded(ApiError):
    """The newest price of the pattern begins no earlier; nothing was written."""

    code = "price-superseded"

    def __init__(self, valid_from: datetime) -> None:
        instant = valid_from.isoformat()
        super().__init__(f"The newest price of this pattern begins at {instant}; follow it by a later one.")


class TooManyRules(ApiError):
    """The organization has as many approval rules in force as it may."""

    code = "too-many-rules"

    def __init__(self, *, count_max: int) -> None:
        self.count_max = count_max
        super().__init__(f"{count_max} approval rules are in force; revoke one first.")


class AlreadyHere(ApiError):
    """A session file brings something of an id that the organization has, or had; nothing was imported."""

    code = "already-here"

    def __init__(self, what: str) -> None:
        super().__init__(f"The organization has, or had, a {what} of the same id as one in the file.")


class AgentDiffers(ApiError):
    """The file's agent version is another definition in this organization; nothing was imported."""

    code = "agent-differs"

    def __init__(self, *, agent_id: str, version: int) -> None:
        super().__init__(
            f"Version {version} of {agent_id} is another definition here; "
            "choose the version that the session goes on with by `as_agent`."
        )


class KeyNotInForce(ApiError):
    """A key that is revoked or expired gets no new secret."""

    code = "key-not-in-force"

    def __init__(self) -> None:
        super().__init__("The key is revoked or expired; make another one.")


class RateLimited(ApiError):
    """The key has been used as much as it may."""

    code = "rate-limited"

    def __init__(self, *, policy: str, limit: int, retry_seconds: int, fields: Mapping[str, str]) -> None:
        self.policy = policy
        self.limit = limit
        self.retry_seconds = retry_seconds
        self.fields = fields
        period = "at once" if policy == "streams" else "a minute"
        super().__init__(f"This API key is good for {limit} {policy} {period}.")

    @property
    def headers(self) -> dict[str, str]:
        """When to come again, and what the limit is."""
        return {"Retry-After": str(self.retry_seconds), **self.fields}

    def problem(self, *, status: int) -> RateProblem:
        """Name the limit."""
        return RateProblem(
            **msgspec.structs.asdict(super().problem(status=status)),
            violated_policies=(self.policy,),
            limit=self.limit,
        )


class Unavailable(ApiError):
    """The service cannot answer now; the call may be sent again."""

    code = "unavailable"

    @property
    def headers(self) -> dict[str, str]:
        """When to come again."""
        return {"Retry-After": "1"}


class SecretsUnavailable(Unavailable):
    """Secrets cannot be stored in this installation as it is set up."""

    code = "secrets-unavailable"


class TooManySecrets(ApiError):
    """The organization has as many secrets as it may have; nothing was stored."""

    code = "too-many-secrets"


STATUSES: dict[type[Exception], int] = {
    Malformed: 400,
    ContradictingPreconditions: 400,
    Unauthorized: 401,
    BudgetExceeded: 402,
    Forbidden: 403,
    NotFound: 404,
    RequestInFlight: 409,
    NothingToCorrect: 409,
    PriceSuperseded: 409,
    TooManySecrets: 409,
    StaleRevision: 409,
    TooManyRules: 409,
    AlreadyHere: 409,
    AgentDiffers: 409,
    KeyNotInForce: 409,
    PreconditionFailed: 412,
    BodyTooLarge: 413,
    UnsupportedMediaType: 415,
    Invalid: 422,
    IdempotencyKeyReused: 422,
    PreconditionRequired: 428,
    RateLimited: 429,
    Unavailable: 503,
    CommandRefused: 409,
    InvariantViolated: 500,
    CorruptDocument: 500,
}
"""Class of error -> status of its answer; a class stands for its subclasses."""


def status_of(error: Exception) -> int:
    """Give the status of the nearest class in `STATUSES`; 500 for what nobody foresaw."""
    return next((STATUSES[cls] for cls in type(error).__mro__ if cls in STATUSES), 500)
