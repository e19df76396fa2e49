"""Serving a file that is written while it is sent: one piece in memory at a time.

Without a place among the streams of this process only the header fields are sent, as HEAD asks for.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, cast

from litestar import Response
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send
from loguru import logger

from api.routes.calls import Call
from api.routes.streams import ABORT, Place


class Download(Response[bytes]):
    """The answer that is such a file."""

    def __init__(
        self,
        call: Call,
        pieces: AsyncIterator[bytes],
        *,
        place: Place | None,
        media_type: str,
        name: str,
        fields: Mapping[str, str],
    ) -> None:
        headers = {
            "Cache-Control": "no-store",
            "Content-Disposition": f'attachment; filename="{name}"',
            **fields,
        }
        super().__init__(content=b"", media_type=media_type, headers=headers)
        self._sending = _Sending(call, pieces, place=place, media_type=media_type, fields=headers)

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIResponse:
        """Give what sends it."""
        return self._sending


class _Sending(ASGIResponse):
    """Sends a file from its first piece to its last; one that breaks off lacks the end of its body."""

    _should_set_content_length = False

    def __init__(
        self,
        call: Call,
        pieces: AsyncIterator[bytes],
        *,
        place: Place | None,
        media_type: str,
        fields: Mapping[str, str],
    ) -> None:
        super().__init__(media_type=media_type, headers=dict(fields))
        self._send_seconds_max = call.state.settings.stream_send_seconds_max
        self._place = place
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.encode_headers()})
            if self._place is not None:
                async with aclosing(cast(Any, self._pieces)) as pieces:
                    async for piece in pieces:
                        await self._send(send, piece, more=True)
            await self._send(send, b"", more=False)
        except TimeoutError:
            logger.info("slow reader dropped")
            abort = cast(Mapping[str, Any], scope.get("extensions") or {}).get(ABORT)
            if abort is not None:
                abort["abort"]()
        finally:
            if self._place is not None:
                self._place.give_back()

    async def _send(self, send: Send, body: bytes, *, more: bool) -> None:
        async with asyncio.timeout(self._send_seconds_max):
            await send({"type": "http.response.body", "body": body, "more_body": more})
