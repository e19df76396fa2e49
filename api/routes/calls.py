"""One call of a known caller, read in the order of the checks.

authentication     `Call.begin`
admitted           `Call.admit`
visible            the store, or `Call.require_visible` before anything else is told (see `mounting`)
valid              `Call.query`, `Call.command`
replay, precondition, allowed     the store, by way of `Call.carry_out`
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Generic, TypeVar

import msgspec
from litestar import Request

from api.routes.auth import authenticate
from api.routes.body import read_body
from api.routes.errors import Invalid, NotFound, PreconditionRequired
from api.routes.idempotency import fingerprint
from api.routes.key_errors import MissingScope, WrongKindOfKey
from api.routes.negotiation import Preferences, parse_idempotency_key, parse_on_behalf_of, parse_prefer
from api.routes.operations import Operation
from api.routes.preconditions import Expected, parse_expected
from api.routes.problems import Fault
from api.routes.query import parse_query, take_parameter
from api.routes.schemas.sessions import session_view
from api.routes.state import RoutesState
from api.routes.validation import decode_body
from api.session import ids
from api.store import Caller, Done, Idempotency, Replay, RevisionConflict, Store
from api.store.base import act_for

T = TypeVar("T", bound=msgspec.Struct)
_Result = TypeVar("_Result")

_NUMBER_MAX = 2**31 - 1


class Command(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """What a caller wants done."""

    body: T
    caller: Caller
    """With whom the caller says it acts for."""
    idempotency: Idempotency | None
    expected: Expected | None
    """The revision that the caller has judged; None when it does not say."""


class Call:
    """A request of a known caller."""

    def __init__(
        self, request: Request[Any, Any, Any], operation: Operation, state: RoutesState, caller: Caller
    ) -> None:
        self.request = request
        self.operation = operation
        self.state = state
        self.caller = caller
        """Who calls; from `admit` on for the organization that is meant."""
        self.give_stream_back: Callable[[], None] = _nothing
        """Gives back the stream that this call has been counted as."""
        self._query = request.scope["query_string"]

    @classmethod
    async def begin(cls, request: Request[Any, Any, Any], operation: Operation, state: RoutesState) -> "Call":
        """Find out who calls.

        Raises:
            Unauthorized: nobody that is known.
        """
        caller = await authenticate(request.headers.get("authorization"), state.keys)
        act_for(caller)
        return cls(request, operation, state, caller)

    async def admit(self) -> None:
        """Look whether the key is for this, before anything is looked at that the call is about.

        Raises:
            MissingScope, WrongKindOfKey: it is not.
            NotFound: it is for another organization than the one that is named.
            Invalid: a key of the installation does not name one.
        """
        operation, caller = self.operation, self.caller
        if caller.is_installation:
            if operation.callers == "organization":
                raise WrongKindOfKey(needed="organization")
        elif operation.callers == "installation":
            raise WrongKindOfKey(needed="installation")
        elif caller.scopes.isdisjoint(operation.opening_scopes):
            raise MissingScope(operation.opening_scopes)
        if operation.callers == "named_organization":
            await self._choose_organization()

    @property
    def store(self) -> Store:
        """The store, as much of it as the caller may see."""
        return self.state.unbound if self.caller.is_installation else self.state.store

    @property
    def preferences(self) -> Preferences:
        """How the caller would like to be answered."""
        return parse_prefer(self.header_lines("prefer"))

    def header_lines(self, name: str) -> list[str]:
        """Every line of a header field."""
        return self.request.headers.getall(name, [])

    def path(self, name: str) -> str:
        """What stands in the path for a placeholder."""
        value: str = self.request.path_params[name]
        return value

    def path_number(self, name: str) -> int:
        """A number in the path.

        Raises:
            NotFound: there is nothing under what is no number that we give.
        """
        text = self.path(name)
        if not (text.isascii() and text.isdecimal() and len(text) <= 10 and 1 <= int(text) <= _NUMBER_MAX):
            raise NotFound
        return int(text)

    def query(self, struct: type[T]) -> T:
        """Read the query string.

        Raises:
            Invalid: with every fault.
        """
        return parse_query(self._query, struct)

    async def command(self, struct: type[T], *, limit_bytes: int | None = None) -> Command[T]:
        """Read header fields and body; with a limit of its own the body may be large.

        Raises:
            Malformed, ContradictingPreconditions, BodyTooLarge, UnsupportedMediaType, Invalid
        """
        key = None
        if self.operation.takes_idempotency_key:
            key = parse_idempotency_key(self.header_lines("idempotency-key"))
        caller = self._acting()
        raw = await read_body(self.request, limit_bytes=limit_bytes or self.state.settings.body_bytes_max)
        decode = partial(
            decode_body,
            raw,
            struct,
            content_type=self.request.headers.get("content-type"),
            accepted=self.operation.body_media_types,
            limits=self.state.limits,
        )
        # What takes long to read must not keep everyone else waiting.
        body = decode() if limit_bytes is None else await asyncio.to_thread(decode)
        idempotency = None
        if key is not None:
            digest = fingerprint(self.operation.method, self.request.scope["path"], body)
            idempotency = Idempotency(key=key, fingerprint=digest)
        return Command(
            body=body,
            caller=caller,
            idempotency=idempotency,
            expected=self._expected(getattr(body, "expected_revision", None)),
        )

    def bare_command(self) -> Command[msgspec.Struct]:
        """Read the header fields of a call without a body.

        Raises:
            Malformed
        """
        return Command(
            body=_Nothing(), caller=self._acting(), idempotency=None, expected=self._expected(None)
        )

    async def carry_out(
        self, command: Command[Any], session_id: str, do: Callable[[int | None], Awaitable[_Result]]
    ) -> _Result | Replay:
        """Let the store carry a command out at the revision that the caller expects; `do` is given that.

        Raises:
            NotFound, KeyReused, RequestInFlight, CommandRefused: from the store.
            PreconditionRequired: the caller must say what it expects, and this is no repetition.
            StaleRevision: the session is at another revision.
        """
        expected = command.expected
        if expected is None:
            if self.operation.precondition == "required":
                return await self._replay_at_least(command, session_id)
            return await do(None)
        revision = expected.revision
        if expected.others:
            revision = expected.against(await self.store.reading.revision(command.caller, session_id))
        try:
            return await do(revision)
        except RevisionConflict as conflict:
            document = None
            if self.preferences.wants_representation:
                reading = await self.store.reading.document(command.caller, session_id)
                document = msgspec.json.decode(msgspec.json.encode(session_view(reading)))
            raise expected.stale(conflict, document=document) from conflict

    async def require_visible(self) -> None:
        """Look whether what the path names is there for this caller.

        Raises:
            NotFound: the same for what is missing, foreign or deleted, or no id at all.
        """
        given = self.request.path_params
        if "turn_id" in given:
            await self.store.reading.turn(self.caller, given["session_id"], given["turn_id"])
        elif "session_id" in given:
            await self.store.reading.revision(self.caller, given["session_id"])
        elif "entry_id" in given:
            await self.store.corrections.entry(self.caller, given["entry_id"])
        elif "approval_id" in given:
            await self.store.approvals.approval(self.caller, given["approval_id"])
        elif "interaction_id" in given:
            await self.store.interactions.interaction(self.caller, given["interaction_id"])
        elif "rule_id" in given:
            await self.store.approval_rules.rule(self.caller, given["rule_id"])
        elif "organization_id" in given:
            await self.store.access.organization(given["organization_id"])
        elif "key_id" in given:
            await self.store.access.key(self.caller, given["key_id"])
        elif "agent_id" in given:
            await self.store.agents.agent(self.caller, given["agent_id"])

    async def _choose_organization(self) -> None:
        """Take `organization` out of the query, and act for it."""
        named, self._query = take_parameter(self._query, "organization")
        if self.caller.is_installation:
            if named is None:
                fault = Fault(pointer="?organization", message="is needed by this key", code="missing")
                raise Invalid((fault,))
            self.caller = await self.store.access.acting_for(named, self.caller.actor)
            act_for(self.caller)
        elif named is not None and ids.from_wire(ids.Kind.ORGANIZATION, named) != self.caller.organization_id:
            raise NotFound

    async def _replay_at_least(self, command: Command[Any], session_id: str) -> Replay:
        if command.idempotency is not None:
            replay = await self.store.sessions.find_replay(command.caller, session_id, command.idempotency)
            if replay is not None:
                return replay
        raise PreconditionRequired

    def _acting(self) -> Caller:
        on_behalf_of = parse_on_behalf_of(self.header_lines("turnledger-on-behalf-of"))
        if on_behalf_of is None:
            return self.caller
        actor = msgspec.structs.replace(self.caller.actor, on_behalf_of=on_behalf_of)
        return msgspec.structs.replace(self.caller, actor=actor)

    def _expected(self, body_revision: int | None) -> Expected | None:
        if self.operation.precondition == "none":
            return None
        return parse_expected(self.header_lines("if-match"), body_revision)


def _nothing() -> None:
    """There is no stream to give back."""


class _Nothing(msgspec.Struct, frozen=True):
    """The body of a call that has none."""


Carried = Done | Replay
"""What the store answers to a command."""
