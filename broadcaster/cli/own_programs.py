"""Starting programs of ours: this installation's modules, never those of the folder one happens to be in.

A plain `python -m` (and `python -c`) looks into the current folder first. A package `workers` there, or a
file `redis.py`, would run in our place, with Twilio's secrets in its environment.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The interpreter, told to leave the current folder out (Python 3.11).
PYTHON: Final = (sys.executable, "-P")
_INSTALLED: Final = frozenset(["site-packages", "dist-packages"])


def finding_us(variables: Mapping[str, str], home: Path | None = None) -> dict[str, str]:
    """Return the variables so that `PYTHON -m` finds the code that runs here, also out of a checkout.

    Empty parts of PYTHONPATH, as `PYTHONPATH=$PYTHONPATH:/x` leaves them, mean the current folder: they go.
    `home`: the folder that holds our packages, this very one without it.
    """
    home = home or Path(__file__).resolve().parents[2]
    given = [part for part in variables.get("PYTHONPATH", "").split(os.pathsep) if part]
    ours = [] if home.name in _INSTALLED else [str(home)]
    parts = list(dict.fromkeys(ours + given))
    rest = {name: value for name, value in variables.items() if name != "PYTHONPATH"}
    return {**rest, "PYTHONPATH": os.pathsep.join(parts)} if parts else rest


def environment(env_file: Path | None, **more: str) -> dict[str, str]:
    """Return the environment for a process that reads the same settings, `env_file` included."""
    from dotenv import dotenv_values  # noqa: PLC0415 - pages of options need none

    extra = dotenv_values(env_file) if env_file else {}
    return {**{name: value for name, value in extra.items() if value}, **os.environ, **more}
