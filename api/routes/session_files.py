"""Sessions as files: out of one installation, and into another."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from typing import IO, Self

import msgspec
from litestar import Response

from api.routes import headers, transcript
from api.routes.answers import respond_stored
from api.routes.body import JSON
from api.routes.calls import Call
from api.routes.downloads import Download
from api.routes.operations import Answer, operation
from api.routes.schemas.queries import SessionExportQuery
from api.routes.streams import Place
from api.store import Replay, StoredAnswer
from api.store.importing import Imported
from api.store.scopes import Scope
from api.store.session_files import SessionFile

_PIECE_BYTES = 64 * 1024


@operation(
    "GET",
    "/v1/sessions/{session_id}/export",
    operation_id="exportSession",
    tag="sessions",
    summary="Download a session",
    query=SessionExportQuery,
    scopes=(Scope.SESSIONS_READ,),
    answers={
        200: Answer(
            description="Everything that is kept of the session, or the conversation as Markdown.",
            struct=SessionFile,
            files=("text/markdown",),
        )
    },
)
async def export_session(call: Call) -> Response[bytes]:
    """The document with every turn that was ever created, its events, steps and ledger entries.

    The file shows one revision, and can be imported into another installation.
    """
    query, session_id = call.query(SessionExportQuery), call.path("session_id")
    is_json = query.format == "json"
    media_type = JSON if is_json else transcript.MEDIA_TYPE
    name = f"{session_id}.{'json' if is_json else 'md'}"
    if call.request.method == "HEAD":
        await call.require_visible()
        return Download(call, _Spooled(), place=None, media_type=media_type, name=name, fields={})
    with Place(call) as place, contextlib.ExitStack() as stack:
        file = stack.enter_context(_Spooled())
        if is_json:
            await call.store.exporting.export(call.caller, session_id, file.write)
        else:
            parts = call.store.exporting.read_turns(call.caller, session_id)
            async for piece in transcript.write_markdown(parts):
                file.write(piece)
        answer = Download(
            call,
            file,
            place=place,
            media_type=media_type,
            name=name,
            fields={"Content-Length": str(file.size_bytes)},
        )
        stack.pop_all()
    return answer


@operation(
    "POST",
    "/v1/sessions/import",
    operation_id="importSession",
    tag="sessions",
    summary="Import a session",
    body=SessionFile,
    scopes=(Scope.ADMIN,),
    answers={
        201: Answer(
            description="What was brought in.",
            struct=Imported,
            headers=(headers.LOCATION, headers.IDEMPOTENCY_REPLAYED),
        )
    },
    problems=(404, 409),
)
async def import_session(call: Call) -> Response[bytes]:
    """Bring a session in from the file that `exportSession` gives, with all its ids.

    Its agent's version is brought along if it is not here; `as_agent` chooses another one. What the session
    had cost is shown with it and never billed again. Turns that were not finished are cancelled.
    """
    command = await call.command(SessionFile, limit_bytes=call.state.settings.import_bytes_max)
    result = await call.store.importing.import_session(
        command.caller, command.body, idempotency=command.idempotency, render=_render
    )
    if isinstance(result, Replay):
        assert result.answer is not None, "an import makes no turn"
        return respond_stored(result.answer, is_replayed=True)
    return respond_stored(result)


OPERATIONS = (export_session, import_session)


def _render(imported: Imported) -> StoredAnswer:
    return StoredAnswer(
        status=201,
        headers={"Location": f"/v1/sessions/{imported.session_id}"},
        body=msgspec.json.encode(imported),
    )


class _Spooled(AsyncIterator[bytes]):
    """What is to be sent, on disk: a slow reader holds neither memory nor a connection to the database.

    Nothing is made of it before the first piece is written.
    """

    def __init__(self) -> None:
        self.size_bytes = 0
        self._read_bytes = 0
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, piece: bytes) -> None:
        """Take the next piece."""
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with this object
        self.size_bytes += self._file.write(piece)

    async def __anext__(self) -> bytes:
        assert self._file is not None
        if self._read_bytes == 0:
            self._file.seek(0)
        piece = await asyncio.to_thread(self._file.read, _PIECE_BYTES)
        if not piece:
            raise StopAsyncIteration
        self._read_bytes += len(piece)
        return piece

    async def aclose(self) -> None:
        """Remove it."""
        self.__exit__()
