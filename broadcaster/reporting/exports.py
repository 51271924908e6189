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
from broadcaster.reporting.messages import list_messages
from broadcaster.store.batches import unpack_batch
from broadcaster.twilio.codes import meaning

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from broadcaster.reporting.messages import MessageView
    from broadcaster.store.connection import Store

#: What every row says, in this order; the list's own columns follow.
COLUMNS: Final = (
    "to", "reference", "code", "meaning", "state", "sid", "attempts", "sender", "changed_at",
    "broadcast", "message",
)  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class Format(enum.StrEnum):
    """How an export is written."""

    CSV = "csv"
    NDJSON = "ndjson"


def safe_cell(text: str) -> str:
    """Return `text` so that no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) and not is_e164(text) else text


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
    """Yield every message of a broadcast."""
    async for view in list_messages(store, broadcast):
        yield view


async def lines_of(
    views: AsyncIterator[MessageView], *, how: Format, columns: Iterable[str] = ()
) -> AsyncIterator[str]:
    """Yield a line for each message; a CSV's header before. `columns`: the lists' own, for that header.

    A column of the list with the name of one of ours is written as `list_NAME`.
    """
    if how is Format.NDJSON:
        async for view in views:
            yield msgspec.json.encode(_entry(view)).decode() + "\n"
        return
    own = tuple(columns)
    yield csv_line([*COLUMNS, *(_renamed(name) for name in own)])
    async for view in views:
        entry = _row(view)
        cells = [*(entry[name] for name in COLUMNS), *(view.variables.get(name, "") for name in own)]
        yield csv_line("" if cell is None else str(cell) for cell in cells)


def csv_line(cells: Iterable[str]) -> str:
    """Return cells as a line of a CSV that no spreadsheet takes for formulas."""
    line = io.StringIO(newline="")
    csv.writer(line).writerow([safe_cell(cell) for cell in cells])
    return line.getvalue()


async def write_messages(
    views: AsyncIterator[MessageView], file: TextIO, *, how: Format, columns: Iterable[str] = ()
) -> int:
    """Write messages as they come, as `lines_of` gives them; return how many."""
    lines = -1 if how is Format.CSV else 0
    async for line in lines_of(views, how=how, columns=columns):
        file.write(line)
        lines += 1
    return lines


def _row(view: MessageView) -> dict[str, Any]:
    record = view.record
    return {
        "to": view.to,
        "reference": view.reference,
        "code": record.code or None,
        "meaning": meaning(record.code) or None,
        "state": record.state.label,
        "sid": record.sid,
        "attempts": record.attempt,
        "sender": view.sender,
        "changed_at": record.changed or None,
        "broadcast": view.broadcast,
        "message": view.id,
    }


def _entry(view: MessageView) -> dict[str, Any]:
    return _row(view) | {_renamed(name): text for name, text in view.variables.items()}


def _renamed(name: str) -> str:
    return f"list_{name}" if name.strip().lower() in COLUMNS else name
