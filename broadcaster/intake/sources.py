"""The text of a list: a file or standard input, unpacked, looked at once and hashed on the way."""

from __future__ import annotations

import contextlib
import hashlib
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Self

from broadcaster.intake.encodings import UTF8, Recoder
from broadcaster.intake.faults import EmptyListError, UnreadableListError
from broadcaster.intake.gunzip import MAGIC, Gunzip

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from _typeshed import WriteableBuffer

    from broadcaster.intake.encodings import Guess

#: How much of a list is looked at to tell its format.
SAMPLE_BYTES: Final = 64 * 1024
_BUFFER_BYTES: Final = 64 * 1024
#: First bytes of what people send instead of text, and what to do about it.
_NOT_TEXT: Final = (
    (b"PK\x03\x04", "is a zip archive or an Excel workbook; save the sheet as 'CSV UTF-8' first"),
    (b"\xd0\xcf\x11\xe0", "is an old Excel workbook; save the sheet as 'CSV UTF-8' first"),
    (b"%PDF", "is a PDF; export the list as 'CSV UTF-8' first"),
    (MAGIC, "is packed with gzip twice; unpack it first"),
    (b"BZh", "is compressed with bzip2; unpack it first, or take gzip"),
    (b"\xfd7zXZ", "is compressed with xz; unpack it first, or take gzip"),
    (b"(\xb5/\xfd", "is compressed with zstd; unpack it first, or take gzip"),
    (b"7z\xbc\xaf", "is a 7z archive; unpack it first"),
)


class ListSource(io.RawIOBase):
    """A raw, forward-only stream over a list's text in UTF-8, whatever its bytes are: gzip, another encoding.

    `sample` is the text's first 64 kB (all of a shorter list), not consumed. `bytes_read` and `size` (None
    for a pipe) are of the bytes as they came, for progress bars; so is `digest()`, their SHA-256, which is
    only whole once the stream was read to its end. `encoding` is what somebody named, see `encodings`; `most`
    bounds what gzip is unpacked to. Raises `UnreadableListError`, `EmptyListError`, `TooLongListError`.
    """

    def __init__(
        self,
        stream: BinaryIO,
        name: str,
        *,
        size: int | None = None,
        owns: bool = True,
        encoding: str | None = None,
        most: int | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.size = size
        self.bytes_read = 0
        self._stream = stream
        self._owns = owns
        self._hash = hashlib.sha256()
        self._ended = False
        self._told_all = False
        self._recoder = Recoder(name, encoding)
        self._plain, head = self._unpacked(most)
        self._ahead = memoryview(self._first(head))

    def _unpacked(self, most: int | None) -> tuple[Callable[[int], bytes], bytes]:
        """Return what reads the bytes without gzip, and the first of them."""
        head = self._head(self._take)
        if not head.startswith(MAGIC):
            return self._take, head
        packed = io.BytesIO(head)
        read = Gunzip(lambda limit: packed.read(limit) or self._take(limit), self.name, most).read
        return read, self._head(read)

    @staticmethod
    def _head(read: Callable[[int], bytes]) -> bytes:
        parts: list[bytes] = []
        missing = SAMPLE_BYTES
        while missing > 0 and (part := read(missing)):
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _first(self, head: bytes) -> bytes:
        """Look at the first bytes; return them as UTF-8."""
        for start, what in _NOT_TEXT:
            if head.startswith(start):
                raise UnreadableListError(f"{self.name} {what}.")
        self._told_all = len(head) < SAMPLE_BYTES
        text = self._recoder.feed(self._recoder.begin(head), last=self._told_all)
        if not text.strip():
            raise EmptyListError(f"{self.name} is empty: there is nobody to send to.")
        if b"\0" in text:
            raise UnreadableListError(f"{self.name} is not a text file; save the list as 'CSV UTF-8'.")
        self.sample = text.decode("utf-8", "ignore")  # its last character may be cut off
        return text

    @property
    def encoding(self) -> str:
        """What the text is read as, in Python's name for it; of nothing but ASCII utf-8."""
        return self._recoder.encoding or UTF8

    @property
    def guess(self) -> Guess | None:
        """Why it is read as what nobody named and no mark told; None if there is nothing to doubt."""
        return self._recoder.guess

    def _take(self, limit: int) -> bytes:
        try:
            part = self._stream.read(limit)
        except OSError as error:
            raise UnreadableListError(f"cannot read {self.name}: {error.strerror or error}") from None
        if not part:
            self._ended = True
            return b""
        self.bytes_read += len(part)
        self._hash.update(part)
        return part

    def readable(self) -> bool:
        """Return True: that is all this stream can do."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill `buffer`, from the sample first."""
        view = memoryview(buffer).cast("B")
        while not (self._ahead or self._told_all):
            block = self._plain(_BUFFER_BYTES)
            self._told_all = not block
            self._ahead = memoryview(self._recoder.feed(block, last=self._told_all))
        part = self._ahead[: len(view)]
        self._ahead = self._ahead[len(part) :]
        view[: len(part)] = part
        return len(part)

    def text(self, *, lines: bool = False) -> io.TextIOWrapper:
        """Return the stream as text, line ends kept as they are; of `lines` none may be endless."""
        self._recoder.bounded = lines
        return io.TextIOWrapper(io.BufferedReader(self, _BUFFER_BYTES), encoding="utf-8", newline="")

    def digest(self) -> str:
        """Return the SHA-256 of the list's bytes in hex, reading what is left of them."""
        while not self._ended:
            self._take(_BUFFER_BYTES)
        return self._hash.hexdigest()

    def release(self) -> None:
        """Close the file, if this source opened it. Safe to call twice."""
        if self._owns:
            self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def open_source(path: str, encoding: str | None = None) -> ListSource:
    """Open the list at `path`, `-` for standard input.

    Raises `UnreadableListError` (no such file, a folder, not text) or `EmptyListError`.
    """
    if path == "-":
        return ListSource(sys.stdin.buffer, "standard input", owns=False, encoding=encoding)
    with contextlib.ExitStack() as undo:
        try:
            stream = undo.enter_context(Path(path).open("rb", buffering=0))
            size = Path(path).stat().st_size
        except OSError as error:
            raise UnreadableListError(f"cannot read {path}: {error.strerror or error}") from None
        source = ListSource(stream, path, size=size, encoding=encoding)
        undo.pop_all()
    return source
