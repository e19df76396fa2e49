"""Reading the line of a session: its stretches, its turns, one turn of it."""

from typing import Any
from uuid import UUID

from api.session import codec, ids
from api.session.document import START_NODE, Session, Turn
from api.session.errors import TurnNotOnLine
from api.session.line import Line
from api.store import rows
from api.store.base import row_id
from api.store.errors import NotFound
from db import turns
from db.pool import Connection


class LineReader:
    """Reads one session's turns over one connection, as the header at hand describes the line."""

    def __init__(self, conn: Connection, organization_id: UUID, session_id: UUID, session: Session) -> None:
        self._scope = (conn, organization_id, session_id)
        self._session = session

    async def line(self, *, down_to: int) -> Line:
        """Read the line from the stretch that holds position `down_to` up to its end."""
        return rows.line(
            await turns.stretches(
                *self._scope,
                branch=self._session.branch,
                line_count=self._session.turn_count,
                down_to=down_to,
            )
        )

    async def turns(self, *, first: int, end: int) -> tuple[Turn, ...]:
        """Read the turns at positions `first .. end - 1` of the line, by position."""
        bodies = await turns.on_line(
            *self._scope,
            branch=self._session.branch,
            line_count=self._session.turn_count,
            first=first,
            end=end,
        )
        return tuple(codec.decode_turn(body) for body in bodies)

    async def standing(
        self, *, end: int, branch: int | None = None, line_count: int | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Read the agent's node and variables after the turns before position `end` of the line, or of
        another line of the session: what the newest of them says that stores any, else the beginning's.
        """
        body = await turns.standing(
            *self._scope,
            branch=self._session.branch if branch is None else branch,
            line_count=self._session.turn_count if line_count is None else line_count,
            end=end,
        )
        turn = None if body is None else codec.decode_turn(body)
        if turn is None or turn.node is None or turn.variables is None:
            return START_NODE, {}
        return turn.node, turn.variables

    async def turn(self, turn_id: str) -> Turn:
        """Read a turn of the session, on the line or not.

        Raises:
            NotFound: the session has no such turn.
        """
        body = await turns.by_id(*self._scope, row_id(ids.Kind.TURN, turn_id, "turn"))
        if body is None:
            raise NotFound("turn")
        return codec.decode_turn(body)

    async def turn_on_line(self, turn_id: str) -> Turn:
        """Read a turn of the line.

        Raises:
            NotFound: the session has no such turn.
            TurnNotOnLine: the turn lies in a discarded future.
        """
        turn = await self.turn(turn_id)
        if not (await self.line(down_to=turn.position)).holds(turn):
            raise TurnNotOnLine(turn_id)
        return turn
