"""The ledger as a file: CSV or JSON Lines, a page of entries in memory at a time."""

import csv
import io
from collections.abc import AsyncIterator, Callable, Iterable
from decimal import Decimal
from typing import Any

import msgspec

from api.routes.schemas.usage import UnitPrices, UsageEntryView, usage_entry_view
from api.store import Caller, Store
from api.store.ledger import UsageEntry

CSV = "text/csv"
JSON_LINES = "application/jsonl"

MEDIA_TYPES = {"csv": CSV, "jsonl": JSON_LINES}

_PAGE = 1_000

_PRICES = tuple(name for name in UnitPrices.__struct_fields__ if name != "currency")
_COLUMNS = (
    *(name for name in UsageEntryView.__struct_fields__ if name not in ("unit_prices", "corrected_by")),
    *_PRICES,
    "corrected_by_key_id",
    "corrected_on_behalf_of",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet take a text for a formula."""
_TEXTS = frozenset({"speaker", "purpose", "provider", "model", "correction_reason", "corrected_on_behalf_of"})
"""Columns whose words come from outside."""


async def written(
    store: Store, caller: Caller, *, form: str, after: int, head: int, session_id: str | None = None
) -> AsyncIterator[bytes]:
    """Write the entries `after < seq <= head`, a page at a time; holds no connection between pages."""
    write = writer(form)
    while after < head:
        entries, _ = await store.reading.usage_entries(
            caller, after=after, session_id=session_id, limit=_PAGE
        )
        entries = [entry for entry in entries if entry.seq <= head]
        if not entries:
            return
        yield write(entries)
        after = entries[-1].seq


def writer(form: str) -> Callable[[Iterable[UsageEntry]], bytes]:
    """Give the function that writes entries as lines of this form."""
    return csv_lines if form == "csv" else json_lines


def heading(form: str) -> bytes:
    """Write what stands above the first entry."""
    return _csv([_COLUMNS]) if form == "csv" else b""


def json_lines(entries: Iterable[UsageEntry]) -> bytes:
    """Write each entry as one line of JSON, as the API shows it."""
    return b"".join(msgspec.json.encode(usage_entry_view(entry)) + b"\n" for entry in entries)


def csv_lines(entries: Iterable[UsageEntry]) -> bytes:
    """Write each entry as one line of CSV (RFC 4180); what is null is empty.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    return _csv(_cells(entry) for entry in entries)


def _cells(entry: UsageEntry) -> list[Any]:
    view = usage_entry_view(entry)
    fields = {name: getattr(view, name) for name in UsageEntryView.__struct_fields__}
    if view.unit_prices is not None:
        fields |= {name: getattr(view.unit_prices, name) for name in _PRICES}
    if view.corrected_by is not None:
        fields["corrected_by_key_id"] = view.corrected_by.key_id
        fields["corrected_on_behalf_of"] = view.corrected_by.on_behalf_of
    return [_cell(name, fields.get(name)) for name in _COLUMNS]


def _cell(name: str, value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return value
    text: str = value if isinstance(value, str) else value.isoformat()
    return f"'{text}" if name in _TEXTS and text.startswith(_FORMULA) else text


def _csv(lines: Iterable[Iterable[Any]]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerows(lines)
    return buffer.getvalue().encode()
