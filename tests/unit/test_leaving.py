"""A process ends with its code whatever its threads are at, and all it said is read."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys, threading
from broadcaster.leaving import leave
threading.Thread(target=threading.Event().wait).start()  # would keep the interpreter for ever
print("said", end="")
print("told", end="", file=sys.stderr)
leave(3)
"""


def test_it_ends_at_once_with_what_it_said() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "said", "told")
