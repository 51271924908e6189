"""The bytes of a list: a file or standard input, looked at once and hashed on the way."""

from __future__ import annotations

import contextlib
import hashlib
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Self

from broadcaster.intake.faults import EmptyListError, UnreadableListError

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed import WriteableBuffer

#: How much of a list is looked at to tell its format.
SAMPLE_BYTES: Final = 64 * 1024
_BUFFER_BYTES: Final = 64 * 1024
_BOM: Final = b"\xef\xbb\xbf"
#: First bytes of what people send instead of text, and what to do about it.
_NOT_TEXT: Final = (
    (b"PK\x03\x04", "is a zip archive or an Excel workbook; save the sheet as CSV (UTF-8) first"),
    (b"\x1f\x8b", "is compressed with gzip; unpack it first, or pipe it: zcat FILE | broadcaster send - …"),
    (b"\xd0\xcf\x11\xe0", "is an old Excel workbook; save the sheet as CSV (UTF-8) first"),
    (b"%PDF", "is a PDF; export the list as CSV (UTF-8) first"),
    (b"\xff\xfe", "is UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "is UTF-16; save it as UTF-8"),
)


class ListSource(io.RawIOBase):
    """A raw, forward-only stream over a list's bytes.

    `sample` holds the first 64 kB (all of a shorter list) without consuming them. `bytes_read` and
    `size` (None for a pipe) are for progress bars. `digest()` is the SHA-256 of all bytes as they
    came, a byte order mark included; it is only whole once the stream was read to its end.
    """

    def __init__(self, stream: BinaryIO, name: str, *, size: int | None = None, owns: bool = True) -> None:
        super().__init__()
        self.name = name
        self.size = size
        self.bytes_read = 0
        self._stream = stream
        self._owns = owns
        self._hash = hashlib.sha256()
        self._ended = False
        self.sample = self._take_sample()
        self._ahead = memoryview(self.sample.removeprefix(_BOM))

    def _take_sample(self) -> bytes:
        parts: list[bytes] = []
        missing = SAMPLE_BYTES
        while missing > 0 and (part := self._take(missing)):
            parts.append(part)
            missing -= len(part)
        sample = b"".join(parts)
        for start, what in _NOT_TEXT:
            if sample.startswith(start):
                raise UnreadableListError(f"{self.name} {what}.")
        if not sample.removeprefix(_BOM).strip():
            raise EmptyListError(f"{self.name} is empty: there is nobody to send to.")
        if b"\0" in sample:
            raise UnreadableListError(f"{self.name} is not a text file; save the list as CSV in UTF-8.")
        return sample

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
        part: bytes | memoryview = self._ahead[: len(view)]
        if part:
            self._ahead = self._ahead[len(part) :]
        else:
            part = self._take(len(view))
        view[: len(part)] = part
        return len(part)

    def text(self) -> io.TextIOWrapper:
        """Return the stream as strict UTF-8 text, line ends kept as they are."""
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


def open_source(path: str) -> ListSource:
    """Open the list at `path`, `-` for standard input.

    Raises `UnreadableListError` (no such file, a folder, not text) or `EmptyListError`.
    """
    if path == "-":
        return ListSource(sys.stdin.buffer, "standard input", owns=False)
    with contextlib.ExitStack() as undo:
        try:
            stream = undo.enter_context(Path(path).open("rb", buffering=0))
            size = Path(path).stat().st_size
        except OSError as error:
            raise UnreadableListError(f"cannot read {path}: {error.strerror or error}") from None
        source = ListSource(stream, path, size=size)
        undo.pop_all()
    return source
