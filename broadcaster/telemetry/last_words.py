"""What Python itself would print about an error that nobody caught goes through the log, masked like all.

Uncaught exceptions of the main program and of threads, those that can't be raised (in `__del__`), warnings.
asyncio's own reports are log lines already.
"""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

_log = logging.getLogger("python")


def take() -> None:
    """Let this process's last words be log lines. May be called again."""
    sys.excepthook = _uncaught
    threading.excepthook = _in_thread
    sys.unraisablehook = _unraisable
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # it prints the values of a line that can't be made, as they are


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        _log.warning("interrupted")
        return
    _log.critical("uncaught", exc_info=(kind, error, trace))


def _in_thread(args: Any) -> None:
    if args.exc_type is SystemExit:
        return
    error = args.exc_value or args.exc_type()
    _log.error("uncaught.in_thread", exc_info=(args.exc_type, error, args.exc_traceback))


def _unraisable(args: Any) -> None:
    error = args.exc_value or args.exc_type()
    _log.error("unraisable", exc_info=(args.exc_type, error, args.exc_traceback))
