"""The `broadcaster` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command that was typed, and exit with its code."""
    from broadcaster.cli.root import run  # noqa: PLC0415 - so that the settings page can be had without click

    sys.exit(run(sys.argv[1:]))
