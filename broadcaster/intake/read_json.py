"""Reading a JSON array of recipients item by item, whatever its size."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from broadcaster.intake.faults import UnreadableListError
from broadcaster.intake.json_rows import JsonRows
from broadcaster.intake.table import CHUNK_ROWS, SourceReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from broadcaster.intake.sources import ListSource
    from broadcaster.intake.table import Chunk

_BLOCK_CHARACTERS: Final = 64 * 1024
#: An item longer than this is taken for broken JSON, so that a missing quote can't fill the memory.
MAX_ITEM_CHARACTERS: Final = 1024 * 1024
_SPACE: Final = re.compile(r"[ \t\r\n]*")
#: What an item may end with that is not its own.
_CLOSING: Final = '}]" \t\r\n'
#: Inside an item there may be something like an item's end: so often another one is looked at.
_GUESSES: Final = 3


class JsonReader(SourceReader):
    """A JSON array of strings or objects; positions are item numbers from 1, since lines may mean nothing.

    Broken JSON raises `UnreadableListError` with its line while iterating: what follows can't be told.
    """

    position = "item"

    def __init__(self, source: ListSource, *, to_column: str | None = None) -> None:
        super().__init__(source)
        self._rows = JsonRows(source.name, to_column)

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the items in chunks."""
        first, some = 1, list[Any]()
        for items in _Items(self.source).groups():
            some += items
            if len(some) >= CHUNK_ROWS:
                yield self._rows.chunk(range(first, first + len(some)), some)
                first, some = first + len(some), []
        if some:
            yield self._rows.chunk(range(first, first + len(some)), some)


class ValuesReader:
    """Recipients that are Python values already, such as an API call's: strings or mappings."""

    position = "item"
    encoding: str | None = None
    notes: tuple[str, ...] = ()

    def __init__(
        self, values: Iterable[Any], *, name: str = "recipients", to_column: str | None = None
    ) -> None:
        self.name = name
        self._values = values
        self._rows = JsonRows(name, to_column)
        self._hash = hashlib.sha256()
        self._left = self._hashed()

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the values in chunks."""
        first = 1
        while some := list(itertools.islice(self._left, CHUNK_ROWS)):
            yield self._rows.chunk(range(first, first + len(some)), some)
            first += len(some)

    def _hashed(self) -> Iterator[Any]:
        for value in self._values:
            self._hash.update(msgspec.json.encode(value, order="deterministic") + b"\n")
            yield value

    def digest(self) -> str:
        """Return the SHA-256 of the values as JSON, the order of keys aside, reading what is left of them."""
        for _ in self._left:
            pass
        return self._hash.hexdigest()

    def release(self) -> None:
        """Do nothing: nothing is open."""


class _Items:
    """The items of the array in a source's text, decoded many at once where that can be done.

    How an item ends, `"}}` or the like, is learned from one: all up to the last such end in the buffer are
    complete items, if they are JSON. If not, and in what is left, they are decoded one after the other.
    """

    def __init__(self, source: ListSource) -> None:
        self._source = source
        self._text = source.text()
        self._buffer = ""
        self._at = 0
        self._line = 1
        self._ended = False
        # Numbers stay as written: 1.10 is not 1.1 in a message.
        self._decode = json.JSONDecoder(parse_float=str, parse_int=str).raw_decode
        self._decode_all = msgspec.json.Decoder(list[Any], float_hook=str).decode
        self._end = ""
        self._one_by_one = False

    def groups(self) -> Iterator[list[Any]]:
        """Yield the items, some at a time. Raises `UnreadableListError`."""
        if self._next_character() != "[":
            raise self._broken("a JSON list begins with [")
        self._at += 1
        if self._next_character() == "]":
            self._at += 1
        else:
            while True:
                yield self._several() or [self._item()]
                mark = self._next_character()
                self._at += 1
                if mark == "]":
                    break
                if mark != ",":
                    self._at -= 1
                    raise self._broken(
                        "expected , or ] after an item" if mark else "it ends before the closing ]"
                    )
        if self._next_character():
            raise self._broken("there is more text after the closing ]")

    def _next_character(self) -> str:
        """Skip white space; return the character at the cursor, "" at the end."""
        while True:
            space = _SPACE.match(self._buffer, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._more():
                return ""

    def _several(self) -> list[Any]:
        """Return the items that the buffer holds whole, [] if that can't be told."""
        if self._one_by_one or not self._end:
            return []
        end = len(self._buffer)
        for _ in range(_GUESSES):
            end = self._buffer.rfind(self._end, self._at, end)
            if end < 0:
                return []
            past = end + len(self._end) - 1  # the comma is left
            try:
                items = self._decode_all(f"[{self._buffer[self._at : past]}]")
            except (msgspec.DecodeError, UnicodeEncodeError):
                continue
            self._at = past
            return items
        self._one_by_one = True  # until there is more to look at: each guess reads all of it
        return []

    def _item(self) -> Any:
        self._next_character()
        while True:
            try:
                value, end = self._decode(self._buffer, self._at)
            except json.JSONDecodeError as error:
                if not self._more():
                    raise self._broken(error.msg) from None
                continue
            # A bare number may go on in the next block.
            if end < len(self._buffer) or isinstance(value, (dict, list)) or self._buffer[end - 1] == '"':
                text = self._buffer[self._at : end]
                self._end = text[len(text.rstrip(_CLOSING)) :] + ","
                self._at = end
                return value
            if not self._more():
                raise self._broken("it ends before the closing ]")

    def _more(self) -> bool:
        """Read on, dropping what was consumed; False at the end of the text."""
        if len(self._buffer) - self._at > MAX_ITEM_CHARACTERS:
            raise self._broken(
                f"an item of more than {MAX_ITEM_CHARACTERS:,} characters; a quote may be missing"
            )
        self._line += self._buffer.count("\n", 0, self._at)
        block = self._text.read(_BLOCK_CHARACTERS)
        self._buffer = self._buffer[self._at :] + block
        self._at = 0
        self._one_by_one = False
        return bool(block)

    def _broken(self, what: str) -> UnreadableListError:
        line = self._line + self._buffer.count("\n", 0, self._at)
        whole = what.removesuffix(" at").removesuffix(" starting")  # the decoder goes on with a position
        return UnreadableListError(f"{self._source.name}, line {line:,}: not valid JSON: {whole}.")
