"""The `broadcaster` command."""

from __future__ import annotations

import sys

from broadcaster.leaving import leave


def main() -> None:
    """Run the command that was typed, and exit with its code."""
    try:
        from broadcaster.cli.root import run  # noqa: PLC0415 - the settings page can be had without click
    except ModuleNotFoundError as error:  # the client alone is installed
        needed = "The command needs more than the client: pip install 'floodcast[server]'"
        sys.exit(f"broadcaster: {error.name} is not installed. {needed}")

    leave(run(sys.argv[1:]))
