"""The end of a process, without the interpreter's own.

Threads of the HTTP client may still be ending when all is done and said. An interpreter that is being taken
down trips over them, now and then (`PyGILState_Release`, SIGABRT): whoever had sent a message well would get
an exit code that says it failed.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End the process at once with this exit code; what was printed is written out first."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # whoever read it has gone, or it is closed
            stream.flush()
    os._exit(code)
