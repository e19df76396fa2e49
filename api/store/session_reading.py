"""From a session file to the structs and rows of a session, with everything in it checked.

Nothing here asks the database. What a file says is held to the same law as what is stored, and every part
that cannot be read is named by its place.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from api.agents.definition import Definition, parse
from api.agents.faults import DefinitionRefused
from api.session import codec, ids, invariants
from api.session.document import Branch, DiscardedFuture, Document, Event, Session, Turn
from api.session.errors import CorruptDocument, InvariantViolated
from api.session.line import line_of
from api.store.errors import FileFault, FileRefused
from api.store.session_files import FileCounts, FileEntry, FileFuture, FileStep, FileTurn, SessionFile

_T = TypeVar("_T")
_FAULTS_MAX = 100


class ReadEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A ledger entry, and all of it as the file has it."""

    entry: FileEntry
    whole: bytes


class ReadSession(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds."""

    row: UUID
    document: Document
    definition: Definition
    futures: tuple[FileFuture, ...]
    """Also those that were restored."""
    steps: tuple[tuple[UUID, FileStep], ...]
    """Each with its turn."""
    events: tuple[Event, ...]
    entries: tuple[ReadEntry, ...]

    @property
    def turns(self) -> Iterator[Turn]:
        """Every turn ever created."""
        yield from self.document.turns
        yield from self.document.discarded_turns


def read(file: SessionFile) -> ReadSession:
    """Read a file.

    Raises:
        FileRefused: with the places of what is wrong.
    """
    parts = _Parts()
    for name in msgspec.structs.asdict(file):
        parts.require(not _holds_nul(getattr(file, name)), f"/{name}", "may not contain U+0000")
    session = parts.one("/session", file.session, codec.decode_session)
    definition = parts.one("/agent/definition", file.agent.definition, parse)
    branches = parts.each("/branches", file.branches, _typed(Branch))
    futures = parts.each("/discarded_futures", file.discarded_futures, _typed(FileFuture))
    told = parts.each("/turns", file.turns, _typed(FileTurn))
    turns = parts.each("/turns", [turn.turn for turn in told], codec.decode_turn, within="/turn")
    events = parts.each("/events", file.events, _typed(Event))
    of_ledger = parts.each("/usage_entries", file.usage_entries, _entry)
    of_before = parts.each("/imported_usage_entries", file.imported_usage_entries, _entry)
    for name in FileCounts.__struct_fields__:
        if name == "steps":
            continue
        given, counted = len(getattr(file, name)), getattr(file.counts, name)
        parts.require(given == counted, f"/{name}", f"has {given} items, where the file counts {counted}")
    step_count = sum(len(turn.steps) for turn in told)
    parts.require(
        step_count == file.counts.steps, "/turns", f"has {step_count} steps, not as many as counted"
    )
    parts.stop_at_faults()
    assert session is not None
    assert definition is not None

    row = parts.row(ids.Kind.SESSION, session.id, "/session/id")
    parts.row(ids.Kind.AGENT, file.agent.id, "/agent/id")
    pinned = (session.agent.id, session.agent.version)
    is_its_own = pinned == (file.agent.id, file.agent.version)
    parts.require(is_its_own, "/agent", "is not the one that the session is with")
    steps = tuple(
        (parts.row(ids.Kind.TURN, turn.id, "/turns"), _checked(parts, step))
        for turn, held in zip(turns, told, strict=True)
        for step in held.steps
    )
    for entry in (*of_ledger, *of_before):
        parts.require(entry.entry.session_id == session.id, "/usage_entries", "are of another session")
        for kind, name in _ENTRY_IDS.items():
            if (value := getattr(entry.entry, name)) is not None:
                parts.row(kind, value, "/usage_entries")
    for turn in turns:
        parts.row(ids.Kind.TURN, turn.id, "/turns")
        for approval in turn.approvals:
            parts.row(ids.Kind.APPROVAL, approval.id, "/turns")
            parts.row(ids.Kind.STEP, approval.step_id, "/turns")
    revisions = [event.revision for event in events]
    # The first of them may have been kept no longer where the session comes from.
    kept = range(session.revision - len(events) + 1, session.revision + 1)
    parts.require(
        revisions == [*kept] and 0 not in revisions,
        "/events",
        "must be one for each revision, up to the last",
    )
    parts.stop_at_faults()

    document = _document(parts, file, session, branches, futures, turns)
    return ReadSession(
        row=row,
        document=document,
        definition=definition,
        futures=tuple(futures),
        steps=steps,
        events=tuple(events),
        entries=(*of_ledger, *of_before),
    )


_ENTRY_IDS = {ids.Kind.TURN: "turn_id", ids.Kind.STEP: "step_id", ids.Kind.USAGE: "id"}


class _Parts:
    """Reads the parts of a file, and gathers what is wrong with them."""

    def __init__(self) -> None:
        self._faults: list[FileFault] = []

    def one(self, pointer: str, value: Any, read_part: Callable[[bytes], _T]) -> _T | None:
        raw = value if isinstance(value, msgspec.Raw) else msgspec.json.encode(value)
        try:
            return read_part(bytes(raw))
        except (CorruptDocument, DefinitionRefused, msgspec.MsgspecError) as error:
            self._faults.append(FileFault(pointer, str(error)))
            return None

    def each(
        self, pointer: str, values: Sequence[Any], read_part: Callable[[bytes], _T], *, within: str = ""
    ) -> list[_T]:
        found = (
            self.one(f"{pointer}/{number}{within}", value, read_part) for number, value in enumerate(values)
        )
        return [part for part in found if part is not None]

    def require(self, holds: bool, pointer: str, message: str) -> None:
        if not holds:
            self._faults.append(FileFault(pointer, message))

    def row(self, kind: ids.Kind, wire_id: str, pointer: str) -> UUID:
        value = ids.from_wire(kind, wire_id)
        if value is None:
            self._faults.append(FileFault(pointer, f"{wire_id[:64]!r} is no id of the form {kind.value}_..."))
            return UUID(int=0)
        return value

    def stop_at_faults(self) -> None:
        if self._faults:
            raise FileRefused(tuple(self._faults[:_FAULTS_MAX]))


def _document(
    parts: _Parts,
    file: SessionFile,
    session: Session,
    branches: list[Branch],
    futures: list[FileFuture],
    turns: list[Turn],
) -> Document:
    try:
        # The line is laid out by branches that nobody has looked at yet; the law looks at them once more.
        line = line_of(branches, session.branch, session.turn_count)
        on_line = sorted((turn for turn in turns if line.holds(turn)), key=lambda turn: turn.position)
        document = Document(
            session=session,
            context=file.context,
            metadata=file.metadata,
            turns=tuple(on_line),
            branches=tuple(branches),
            discarded_futures=tuple(
                DiscardedFuture(
                    ordinal=future.ordinal,
                    branch=future.branch,
                    branch_point=future.branch_point,
                    line_count=future.line_count,
                    discarded_at=future.discarded_at,
                    discarded_by=future.discarded_by,
                )
                for future in futures
                if future.restored_revision is None
            ),
            discarded_turns=tuple(turn for turn in turns if not line.holds(turn)),
        )
        invariants.check(document)
    except (InvariantViolated, KeyError, IndexError) as error:
        reason = str(error) if isinstance(error, InvariantViolated) else "its branches lead nowhere"
        parts.require(False, "/session", f"this is no session as it can be: {reason}")
        parts.stop_at_faults()
        raise
    return document


def _holds_nul(value: Any) -> bool:
    """Whether a text anywhere within holds what the database cannot."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            if "\x00" in item:
                return True
        elif isinstance(item, dict):
            stack += (*item.keys(), *item.values())
        elif isinstance(item, list | tuple):
            stack += item
    return False


def _typed(struct: type[_T]) -> Callable[[bytes], _T]:
    return msgspec.json.Decoder(struct).decode


def _entry(raw: bytes) -> ReadEntry:
    return ReadEntry(entry=msgspec.json.decode(raw, type=FileEntry), whole=raw)


def _checked(parts: _Parts, step: FileStep) -> FileStep:
    parts.row(ids.Kind.STEP, step.id, "/turns")
    parts.row(ids.Kind.RUN, step.run_id, "/turns")
    is_open = step.state == "started"
    parts.require(
        (step.ended_at is None) == is_open, "/turns", "a step that has ended says when, no other does"
    )
    return step
