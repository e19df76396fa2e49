"""Serving an event stream: read a batch, send it, wait for a sign; the reader itself is nowhere remembered.

One batch is in memory at a time, and no connection to the database is held while the stream waits. A reader
that does not take what it is sent is dropped and goes on from its last event when it comes back. Nothing
that a stream does, or that becomes of it, changes a turn.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, cast

from litestar import Response
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send
from loguru import logger

from api.events import Listener
from api.routes import sse
from api.routes.auth import authenticate
from api.routes.body import JSON
from api.routes.calls import Call
from api.routes.errors import Unauthorized, Unavailable
from api.routes.negotiation import EVENT_STREAM, choose_media_type
from api.routes.schemas.events import StreamEnd
from api.session import ids
from api.session.document import EventType
from api.store import NotFound
from api.store.errors import OUTAGES
from api.store.streaming import Batch, Cursor, Resync, Told
from api.telemetry import measures

ABORT = "turnledger.abort"
"""An ASGI extension of our server: drops the connection, with all that the reader has not taken."""

_ENDINGS = frozenset({EventType.TURN_COMPLETED, EventType.TURN_FAILED, EventType.TURN_CANCELLED})


def wants_stream(call: Call) -> bool:
    """Whether the caller would rather have an event stream than JSON."""
    accept = ",".join(call.header_lines("accept"))
    return choose_media_type(accept, (JSON, EVENT_STREAM)) == EVENT_STREAM


class Place:
    """One of the streams that this process serves at once, taken before a command that it is to show.

    As a context it is given back when the block is left by an error; else the stream has it, until its end.

    Raises:
        Unavailable: this process serves as many as it may.
    """

    def __init__(self, call: Call) -> None:
        self._state = call.state
        self._call = call
        if self._state.stream_count >= self._state.settings.streams_max:
            raise Unavailable("This server serves as many streams as it may; come again.")
        self._state.stream_count += 1
        measures.STREAM_READERS.inc()
        self._is_taken = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is not None:
            self.give_back()

    def give_back(self) -> None:
        """Let another stream have it; once."""
        if self._is_taken:
            self._is_taken = False
            self._state.stream_count -= 1
            self._call.give_stream_back()
            measures.STREAM_READERS.dec()


class EventStream(Response[bytes]):
    """The answer that is a stream."""

    def __init__(
        self,
        call: Call,
        cursor: Cursor,
        *,
        place: Place,
        turn_id: str | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", **(fields or {})}
        super().__init__(content=b"", media_type=EVENT_STREAM, headers=headers)
        self._call = call
        self._cursor = cursor
        self._place = place
        self._turn_id = turn_id

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIResponse:
        """Give what sends it."""
        return _Sending(self._call, self._cursor, self._place, self._turn_id, self.headers)


class _Sending(ASGIResponse):
    """Sends a stream from its first byte to its last."""

    _should_set_content_length = False

    def __init__(
        self, call: Call, cursor: Cursor, place: Place, turn_id: str | None, fields: Mapping[str, str]
    ) -> None:
        super().__init__(media_type=EVENT_STREAM, headers=dict(fields))
        self._call = call
        self._cursor = cursor
        self._place = place
        self._turn_id = turn_id
        self._settings = call.state.settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state, session_id = self._call.state, self._call.path("session_id")
        row = ids.from_wire(ids.Kind.SESSION, session_id)
        assert row is not None, "the store has found it"
        try:
            with state.hub.listening(row, hears_deltas=True) as listener:
                leaving = asyncio.create_task(_until_gone(receive))
                leaving.add_done_callback(lambda _: listener.raise_sign())
                try:
                    await self._send_all(send, listener, leaving)
                except TimeoutError:
                    logger.info("slow reader dropped", session_id=session_id)
                    _abort(scope)
                finally:
                    leaving.cancel()
        finally:
            self._place.give_back()

    async def _send_all(self, send: Send, listener: Listener, leaving: "asyncio.Task[None]") -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.encode_headers()})
        await self._send(send, sse.write_opening(self._cursor))
        loop = asyncio.get_running_loop()
        comment_at = loop.time() + self._settings.stream_comment_seconds
        while not (self._call.state.is_stopping or leaving.done()):
            # Nothing is read for a key that was revoked meanwhile; mostly it is remembered.
            if not await self._is_still_allowed():
                break
            batch, end = await self._read()
            items, is_final = self._of_interest(batch)
            if is_final:
                end = StreamEnd(reason="turn_final")
            if items:
                await self._send(send, b"".join(items))
                comment_at = loop.time() + self._settings.stream_comment_seconds
            if end is not None:
                await self._send(send, sse.write_end(end))
                break
            if batch is not None and batch.has_more:
                continue
            await listener.wait(seconds_max=max(0.0, min(self._poll_seconds(), comment_at - loop.time())))
            if loop.time() >= comment_at:
                await self._send(send, sse.COMMENT)
                comment_at = loop.time() + self._settings.stream_comment_seconds
        if not leaving.done():
            await self._send(send, b"", more=False)

    async def _read(self) -> tuple[Batch | None, StreamEnd | None]:
        """The next batch, None while the database is away; and the end, if there it is."""
        call = self._call
        try:
            batch = await call.store.streaming.following(call.caller, call.path("session_id"), self._cursor)
        except NotFound:
            return None, StreamEnd(reason="session_deleted")
        except tuple(OUTAGES) as error:
            logger.warning("stream waits for the database", error=repr(error))
            return None, None
        self._cursor = batch.cursor
        return batch, StreamEnd(reason="session_ended") if batch.is_over and not batch.has_more else None

    def _of_interest(self, batch: Batch | None) -> tuple[list[bytes], bool]:
        """What this stream tells of a batch, and whether the turn that it is about is final with that."""
        told: list[bytes] = []
        for item in () if batch is None else batch.items:
            if self._turn_id is None or isinstance(item, Resync):
                told.append(sse.write_item(item))
            elif not isinstance(item, Told):
                if item.turn_id == self._turn_id:
                    told.append(sse.write_item(item))
            else:
                effects = [effect for effect in item.event.effects if effect.turn_id == self._turn_id]
                if effects:
                    told.append(sse.write_item(item))
                if any(effect.type in _ENDINGS for effect in effects):
                    return told, True
        return told, False

    def _poll_seconds(self) -> float:
        """How long to wait without a sign; spread, so that readers do not come all at once."""
        seconds = self._settings.stream_poll_seconds
        if not self._call.state.hub.hears_others:
            seconds = min(seconds, self._settings.poll_interval_ms / 1000)
        return seconds * random.uniform(0.8, 1.2)  # noqa: S311  # no secret

    async def _is_still_allowed(self) -> bool:
        """A key that was revoked meanwhile opens nothing any more."""
        try:
            await authenticate(self._call.request.headers.get("authorization"), self._call.state.keys)
        except Unauthorized:
            return False
        except tuple(OUTAGES):
            return True
        return True

    async def _send(self, send: Send, body: bytes, *, more: bool = True) -> None:
        """Send some bytes.

        Raises:
            TimeoutError: the reader does not take them.
        """
        async with asyncio.timeout(self._settings.stream_send_seconds_max):
            await send({"type": "http.response.body", "body": body, "more_body": more})


async def _until_gone(receive: Receive) -> None:
    """Wait for the client to go away."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _abort(scope: Scope) -> None:
    extension = cast(Mapping[str, Any], scope.get("extensions") or {}).get(ABORT)
    if extension is not None:
        abort: Callable[[], None] = extension["abort"]
        abort()
