"""A list that is uploaded as multipart: parsed as it comes, into a pipe that a reader's thread empties.

The client is slowed down to the reader's pace: what is here of a list at one time is a bounded number of
bytes. Nothing is written to disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from broadcaster.api.bodies import pieces
from broadcaster.api.problems import Problem, unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.requests import Request

    from broadcaster.intake.table import Chunk, ListReader

#: The names of the parts, in their order.
SPEC, LIST = "spec", "recipients"
SPEC_BYTES: Final = 1024 * 1024
PIPE_BYTES: Final = 1024 * 1024
AT_ONCE: Final = 32
_NAME_CHARACTERS: Final = 200


class Room:
    """Counts the uploads of this process: each takes a thread and some megabytes."""

    def __init__(self) -> None:
        self._taken = 0

    @contextlib.contextmanager
    def for_one(self) -> Iterator[None]:
        """Let one upload in. Raises `Problem` 503 while there are too many."""
        if self._taken >= AT_ONCE:
            raise unavailable(f"This process takes {AT_ONCE} uploads at once; come again.")
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1


class Pipe:
    """Bytes from the event loop to a thread, at most about `PIPE_BYTES` at a time.

    The thread has `read`, as of a file; the loop `write`, `finish` and `fail`.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._changed = threading.Condition()
        self._room = asyncio.Event()
        self._room.set()
        self._ended = False
        self._error: BaseException | None = None

    def read(self, limit: int = -1) -> bytes:
        """Return the next bytes, at most `limit`, once there are any; b"" at the end. Raises what failed."""
        with self._changed:
            while not (self._pieces or self._ended or self._error):
                self._changed.wait()
            if self._error is not None:
                raise self._error
            if not self._pieces:
                return b""
            piece = self._pieces.popleft()
            if 0 <= limit < len(piece):
                self._pieces.appendleft(piece[limit:])
                piece = piece[:limit]
            self._held -= len(piece)
            roomy = self._held < PIPE_BYTES // 2
        if roomy:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._room.set)
        return piece

    def close(self) -> None:
        """Do nothing: who writes it ends it."""

    async def write(self, piece: bytes) -> None:
        """Add bytes; wait while there are too many."""
        await self._room.wait()
        with self._changed:
            self._pieces.append(piece)
            self._held += len(piece)
            if self._held >= PIPE_BYTES:
                self._room.clear()
            self._changed.notify()

    def finish(self) -> None:
        """Say that this was all."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def fail(self, error: BaseException) -> None:
        """Let the thread raise `error` at once."""
        with self._changed:
            self._error = error
            self._changed.notify()


class _Form:
    """The parts as they come: `spec` is whole once `begun`, `data` is what came of the list since asked."""

    def __init__(self, boundary: bytes) -> None:
        self.spec = bytearray()
        self.filename = ""
        self.begun = self.ended = False
        self.data: list[bytes] = []
        self._part = ""
        self._header = [b"", b""]
        self._disposition = b""
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begins,
                "on_header_field": lambda data, start, end: self._header_goes_on(0, data[start:end]),
                "on_header_value": lambda data, start, end: self._header_goes_on(1, data[start:end]),
                "on_header_end": self._header_ends,
                "on_headers_finished": self._headers_end,
                "on_part_data": self._take,
                "on_end": self._end,
            },
        )

    def feed(self, piece: bytes) -> None:
        """Parse a piece. Raises `Problem` 400, 413 or 422."""
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise Problem(
                "bad-request", f"This is not multipart/form-data as it should be: {error}."
            ) from None

    def _part_begins(self) -> None:
        self._disposition = b""

    def _header_goes_on(self, which: int, text: bytes) -> None:
        self._header[which] += text

    def _header_ends(self) -> None:
        name, value = self._header
        if name.strip().lower() == b"content-disposition":
            self._disposition = value
        self._header = [b"", b""]

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name not in (SPEC, LIST):
            raise _misplaced(f"there is no part called {name[:_NAME_CHARACTERS]!r}")
        if name == SPEC and self._part:
            raise _misplaced(
                "it has two parts `spec`" if self._part == SPEC else "`spec` comes after the list"
            )
        if name == LIST and self._part != SPEC:
            raise _misplaced("it has two lists" if self._part == LIST else "the list comes before `spec`")
        self._part = name
        if name == LIST:
            self.begun = True
            name = options.get(b"filename", b"").decode("utf-8", "replace")[:_NAME_CHARACTERS]
            self.filename = "".join(filter(str.isprintable, name))

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._part == LIST:
            self.data.append(data[start:end])
            return
        self.spec += data[start:end]
        if len(self.spec) > SPEC_BYTES:
            raise Problem("too-large", f"The part `spec` takes {SPEC_BYTES:,} bytes at most.")

    def _end(self) -> None:
        self.ended = True


def _misplaced(what: str) -> Problem:
    how = "This takes two parts: first `spec`, as JSON, then `recipients`, as CSV or NDJSON"
    return Problem("invalid", f"{how}; {what}.")


class Upload:
    """One upload. `begin` it, then read its list from `pipe` inside `coming`."""

    def __init__(self, request: Request, *, most: int) -> None:
        _, options = parse_options_header(request.headers.get("content-type", ""))
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise Problem("bad-request", "multipart/form-data needs a boundary in Content-Type.")
        told = request.headers.get("content-length", "")
        if told.isdigit() and int(told) > most + SPEC_BYTES:
            raise Problem("too-large", f"This takes {most:,} bytes at most.")
        try:
            self._form = _Form(boundary)
        except FormParserError as error:
            raise Problem("bad-request", f"{error}.") from None
        self._pieces = pieces(request, most + SPEC_BYTES)
        self.pipe = Pipe()

    @property
    def filename(self) -> str:
        """The name of the list's file as the client told it, "" if it didn't."""
        return self._form.filename

    async def begin(self) -> bytes:
        """Read up to where the list begins; return `spec`. Raises `Problem`."""
        async for piece in self._pieces:
            self._form.feed(piece)
            if self._form.begun:
                return bytes(self._form.spec)
        raise _misplaced("the list is missing")

    @contextlib.asynccontextmanager
    async def coming(self) -> AsyncIterator[None]:
        """Let the list come into the pipe until the block ends, whether it has come whole or not."""
        task = asyncio.ensure_future(self._pump())
        try:
            yield
        finally:
            task.cancel()
            self.pipe.fail(ConnectionAbortedError("nobody wants the rest of this list"))

    async def _pump(self) -> None:
        try:
            await self._pass_on()
            async for piece in self._pieces:
                self._form.feed(piece)
                await self._pass_on()
            if not self._form.ended:
                self.pipe.fail(Problem("bad-request", "The upload ends before its last boundary."))
            self.pipe.finish()
        except Exception as error:  # noqa: BLE001 - who reads the list gets it
            self.pipe.fail(error)

    async def _pass_on(self) -> None:
        data, self._form.data = self._form.data, []
        for piece in data:
            if piece:
                await self.pipe.write(piece)


class BoundedRows:
    """A list of at most `most` rows; a longer one raises `Problem` 413 while it is read."""

    def __init__(self, reader: ListReader, most: int) -> None:
        self._reader = reader
        self._most = most
        self.name = reader.name
        self.position = reader.position

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the rows in chunks."""
        rows = 0
        for chunk in self._reader:
            rows += len(chunk) + len(chunk.bad)
            if rows > self._most:
                raise Problem("too-large", f"A list has {self._most:,} rows at most here; split it.")
            yield chunk

    @property
    def encoding(self) -> str | None:
        """What the list is read as; None where it came as values."""
        return self._reader.encoding

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever sent the list should know of how it was read."""
        return self._reader.notes

    def digest(self) -> str:
        """Return the list's digest, reading what is left."""
        return self._reader.digest()

    def release(self) -> None:
        """Close what is open."""
        self._reader.release()
