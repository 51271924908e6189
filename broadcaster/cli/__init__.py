"""The `broadcaster` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command that was typed, and exit with its code."""
    try:
        from broadcaster.cli.root import run  # noqa: PLC0415 - the settings page can be had without click
    except ModuleNotFoundError as error:  # the client alone is installed
        sys.exit(f"broadcaster: {error.name} is not installed. The command needs: pip install 'floodcast[server]'")

    sys.exit(run(sys.argv[1:]))
