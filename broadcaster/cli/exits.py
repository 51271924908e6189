"""How a command ends that can't do what was typed: exit codes, and two errors of the command line's own.

Every command's page of options imports this, so it imports nothing; what each error is said to be is in
`explaining.py`.
"""

from __future__ import annotations

from typing import Final

FAILED: Final = 1
BAD_INPUT: Final = 2
UNFINISHED: Final = 3
STOPPED: Final = 4


class InputError(ValueError):
    """Something that was typed can't be used; the message says why and what to do."""


class CommandFailedError(Exception):
    """The command could not do what it was asked; the message says why."""
