"""Reading the line of a session: its stretches, its turns, one turn of it."""

from uuid import UUID

from api.session import codec, ids
from api.session.document import Session, Turn
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
