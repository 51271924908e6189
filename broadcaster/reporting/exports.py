"""Messages as a file: CSV or NDJSON, each of them a valid list for `send` again.

CSV is read by spreadsheets, which run a cell that looks like a formula: such a cell gets an apostrophe in
front, numbers in E.164 alone are left as they are.
"""

from __future__ import annotations

import csv
import enum
import io
from typing import TYPE_CHECKING, Any, Final, TextIO

import msgspec

from broadcaster.domain.addresses import is_e164
from broadcaster.ledger.removing import removed_at
from broadcaster.reporting.messages import list_messages
from broadcaster.store.batches import unpack_batch
from broadcaster.store.errors import StoreError
from broadcaster.twilio.codes import class_of, meaning

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from broadcaster.reporting.messages import MessageView
    from broadcaster.store.connection import Store

#: What every row says, in this order; the list's own columns follow.
COLUMNS: Final = (
    "to", "reference", "code", "meaning", "class", "state", "sid", "attempts", "sender",
    "changed_at", "broadcast", "message", "consent",
)  # fmt: skip
_PIECE: Final = 32 * 1024
#: The last four are full-width, which some spreadsheets take for the first four.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class Format(enum.StrEnum):
    """How an export is written."""

    CSV = "csv"
    NDJSON = "ndjson"


def safe_cell(text: str) -> str:
    """Return `text` so that no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) and not is_e164(text) else text


async def as_text(
    rows: AsyncIterator[Mapping[str, Any]], columns: Sequence[str], how: Format
) -> AsyncIterator[str]:
    """Yield an export in pieces of some kilobytes as rows come: CSV with `columns` and a header, or NDJSON.

    What is neither text nor number is written into a cell as JSON; no cell is taken for a formula.
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    if how is Format.CSV:
        writer.writerow([safe_cell(name) for name in columns])
    async for row in rows:
        if how is Format.CSV:
            writer.writerow([_cell(row.get(name)) for name in columns])
        else:
            buffer.write(msgspec.json.encode(row).decode() + "\n")
        if buffer.tell() >= _PIECE:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    if buffer.tell():
        yield buffer.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return safe_cell(str(value) if plain else msgspec.json.encode(value).decode())


def messages_as_text(
    views: AsyncIterator[MessageView], own: Sequence[str], how: Format
) -> AsyncIterator[str]:
    """Yield an export of messages in pieces; `own`: their lists' columns, for a CSV."""
    columns = (*COLUMNS, *(_renamed(name) for name in own))
    return as_text((_entry(view) async for view in views), columns, how)


async def list_columns(store: Store, broadcasts: Iterable[str]) -> list[str]:
    """Return the columns that the lists of `broadcasts` had and kept, each once."""
    names: dict[str, None] = {}
    for broadcast in broadcasts:
        for lane in range(await store.redis.llen(store.keys.broadcast(broadcast, ":lanes"))):
            first = await store.redis.get(store.keys.batch(broadcast, f"{lane}.0"))
            if first:
                names.update(dict.fromkeys(unpack_batch(first).columns))
    return list(names)


async def whole(store: Store, broadcast: str) -> AsyncIterator[MessageView]:
    """Yield every message of a broadcast. Raises `StoreError` if they are removed meanwhile."""
    known = await removed_at(store, broadcast)
    async for view in list_messages(store, broadcast):
        yield view
    if known is None and await removed_at(store, broadcast) is not None:
        # their time was up, or somebody archived them: a part must not pass for the whole
        raise StoreError(f"the messages of broadcast {broadcast} were removed while they were read")


async def write_messages(
    views: AsyncIterator[MessageView], file: TextIO, *, how: Format, columns: Iterable[str] = ()
) -> int:
    """Write messages as they come; return how many. `columns`: the lists' own, for the header of a CSV.

    A column of the list with the name of one of ours is written as `list_NAME`.
    """
    count = 0

    async def counted() -> AsyncIterator[MessageView]:
        nonlocal count
        async for view in views:
            count += 1
            yield view

    async for piece in messages_as_text(counted(), tuple(columns), how):
        file.write(piece)
    return count


def csv_line(cells: Iterable[str]) -> str:
    """Return cells as a line of a CSV that no spreadsheet takes for formulas."""
    line = io.StringIO(newline="")
    csv.writer(line).writerow([safe_cell(cell) for cell in cells])
    return line.getvalue()


def _row(view: MessageView) -> dict[str, Any]:
    record = view.record
    return {
        "to": view.to,
        "reference": view.reference,
        "code": record.code or None,
        "meaning": meaning(record.code) or None,
        "class": class_of(record.code),
        "state": record.state.label,
        "sid": record.sid,
        "attempts": record.attempt,
        "sender": view.sender,
        "changed_at": record.changed or None,
        "broadcast": view.broadcast,
        "message": view.id,
        "consent": view.consent,
    }


def _entry(view: MessageView) -> dict[str, Any]:
    return _row(view) | {_renamed(name): text for name, text in view.variables.items()}


def _renamed(name: str) -> str:
    return f"list_{name}" if name.strip().lower() in COLUMNS else name
