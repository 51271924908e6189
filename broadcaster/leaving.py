"""The end of a process, without the interpreter's own.

Threads of the HTTP client may still be ending when all is done and said. An interpreter that is being taken
down trips over them, now and then (`PyGILState_Release`, SIGABRT): whoever had sent a message well would get
an exit code that says it failed.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

_last_acts: Final[list[Callable[[], object]]] = []


def before_leaving(act: Callable[[], object]) -> None:
    """Have `leave` do this first. It must not raise, nor take long."""
    _last_acts.append(act)


def leave(code: int) -> NoReturn:
    """End the process at once with this exit code; what was printed is written out first."""
    for act in _last_acts:
        act()
    for stream in (sys.stdout, sys.stderr):
        # whoever read it has gone, it is closed, or was from the start (None)
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
