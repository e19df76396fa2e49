"""The calls that a conversation makes, and how they fail."""

import time
from types import TracebackType
from typing import Any, Self, cast

import httpx

from api.cli.failures import CommandFailed

Json = dict[str, Any]

_CONNECT_SECONDS_MAX = 10
_WAIT_SECONDS = 60
"""How long one call waits for an answer before it is asked for again."""
_POLL_SECONDS = 0.5


class Refused(Exception):
    """The service answered with a problem document; the session is as it was."""

    def __init__(self, problem: Json) -> None:
        super().__init__(problem.get("detail") or problem.get("title") or "the call was refused")
        self.problem = problem

    @property
    def is_conflict(self) -> bool:
        """The session is at another revision than the person has seen."""
        return self.problem.get("code") == "stale-revision"


class Client:
    """The HTTP API with one key."""

    def __init__(self, *, address: str, key: str, transport: httpx.BaseTransport | None = None) -> None:
        """`transport` replaces the network, for tests."""
        self._address = address.rstrip("/")
        self._http = httpx.Client(
            base_url=f"{self._address}/v1",
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(_WAIT_SECONDS + 10, connect=_CONNECT_SECONDS_MAX),
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._http.close()

    def newest_agent_id(self) -> str:
        """Find an agent to talk to."""
        agents = self._call("GET", "/agents", params={"limit": 1})["items"]
        if not agents:
            raise CommandFailed("There is no agent yet; publish one with `turnledger agents publish`.")
        return cast(str, agents[0]["id"])

    def create_session(self, agent_id: str, *, name: str | None) -> Json:
        """Open a session and read it, greeting included."""
        body = {"agent_id": agent_id, **({"name": name} if name else {})}
        return self.settled(self._call("POST", "/sessions", json=body)["id"])

    def session(self, session_id: str) -> Json:
        """Read the session with its newest turns."""
        return self._call("GET", f"/sessions/{session_id}")

    def settled(self, session_id: str) -> Json:
        """Read the session once no turn is being answered. An interrupt of the person ends the wait."""
        while (session := self.session(session_id))["active_turn_id"] is not None:
            time.sleep(_POLL_SECONDS)
        return session

    def write(self, session: Json, action: str, body: Json) -> None:
        """Carry out an action, `messages` or `turns/{id}/regenerate`, on the revision that was seen."""
        headers = {"If-Match": f'"{session["revision"]}"', "Prefer": f"wait={_WAIT_SECONDS}"}
        self._call("POST", f"/sessions/{session['id']}/{action}", json=body, headers=headers)

    def cancel(self, session: Json, turn_id: str) -> None:
        """Stop a turn, at whatever revision the session is."""
        self._call("POST", f"/sessions/{session['id']}/turns/{turn_id}/cancel", json={})

    def discarded_futures(self, session: Json) -> list[Json]:
        """List the futures that can be restored, newest first."""
        page = self._call("GET", f"/sessions/{session['id']}/discarded-futures")
        return cast(list[Json], page["items"])

    def future_turns(self, session: Json, ordinal: int) -> list[Json]:
        """Read the turns of a discarded future."""
        page = self._call("GET", f"/sessions/{session['id']}/discarded-futures/{ordinal}/turns")
        return cast(list[Json], page["items"])

    def usage(self, session: Json) -> list[Json]:
        """Read the ledger's rows of this session."""
        rows: list[Json] = []
        after = 0
        while True:
            page = self._call(
                "GET", "/usage/entries", params={"session_id": session["id"], "after": after, "limit": 200}
            )
            rows += page["items"]
            if not page["items"] or page["next"] >= page["head"]:
                return rows
            after = page["next"]

    def _call(self, method: str, path: str, **options: Any) -> Json:
        try:
            answer = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise CommandFailed(f"The service at {self._address} does not answer: {error}") from error
        try:
            content: Json = answer.json() if answer.content else {}
        except ValueError as error:
            message = f"{self._address} answered {answer.status_code} with something that is not JSON."
            raise CommandFailed(message) from error
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            raise CommandFailed(f"The service at {self._address} does not know this key.")
        if not answer.is_success:
            raise Refused(content)
        return content
