"""Log lines on their way out: written by a thread of their own, so that nobody who reads them can stop us.

Standard error may be a pipe that nobody reads (a log driver that hangs), one whose reader has gone, or a file
on a full disk. The line that can't be written is dropped and counted; what sends never waits for it.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections import deque
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

#: Lines that wait at most (some megabytes); what comes after them is dropped until there is room.
LINES_WAITING: Final = 10_000
#: How long the end of a process waits for its last lines.
LAST_SECONDS: Final = 1.0


class Writer:
    """Writes lines to a file descriptor from a thread that begins with the first line.

    `dropped_line` makes the line that says how many were lost, once one can be written again.
    """

    def __init__(self, descriptor: int, dropped_line: Callable[[int], str]) -> None:
        self.dropped = 0
        self._descriptor = descriptor
        self._dropped_line = dropped_line
        self._lines: deque[str] = deque()
        self._something = threading.Event()
        self._nothing = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        os.register_at_fork(after_in_child=self._forked)

    def write(self, line: str) -> None:
        """Take a line, with its end; returns at once."""
        if len(self._lines) >= LINES_WAITING:
            self.dropped += 1
            return
        self._nothing.clear()
        self._lines.append(line)
        if self._thread is None:
            self._start()
        if not self._something.is_set():
            self._something.set()

    def flush(self, seconds: float = LAST_SECONDS) -> bool:
        """Wait until all that was taken is written, at most so long; tell whether it is."""
        if self._thread is None or not self._thread.is_alive():
            return not self._lines
        self._something.set()
        return self._nothing.wait(seconds)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()

    def _forked(self) -> None:
        self._thread = None
        self._lines.clear()
        self._starting = threading.Lock()

    def _run(self) -> None:
        lines = self._lines
        while True:
            self._something.wait()
            self._something.clear()
            while lines:
                some = [lines.popleft() for _ in range(min(len(lines), 100))]
                self._out("".join(some), len(some))
            if not self._something.is_set():
                self._nothing.set()

    def _out(self, text: str, lines: int) -> None:
        """Write; what can't be written is lost, and said with the first text that can be."""
        lost, self.dropped = self.dropped, 0
        if lost:
            text = self._dropped_line(lost) + text
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # somebody who shares it made it non-blocking
                select.select([], [self._descriptor], [], 1.0)
            except OSError:  # the reader has gone, the disk is full
                self.dropped += lost + lines
                return


class Handler(logging.Handler):
    """Formats in the thread that logs, masking included, and hands the line to `write`.

    An error in formatting is told in a line of its own, with nothing of the record but its logger.
    """

    def __init__(self, write: Callable[[str], object], failed_line: Callable[[str, str], str]) -> None:
        super().__init__()
        self._write = write
        self._failed_line = failed_line

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; never raises but for a lack of memory."""
        try:
            line = self.format(record)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - a line that can't be made must not end what it tells of
            line = self._failed_line(record.name, type(error).__name__)
        self._write(line + "\n")


def to_stream(stream: TextIO) -> Callable[[str], None]:
    """Return what writes lines to a stream at once: for tests, and where there is no descriptor."""

    def write(line: str) -> None:
        try:
            stream.write(line)
            stream.flush()
        except (OSError, ValueError):  # gone, full or closed
            return

    return write
