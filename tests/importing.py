"""Importing a list by the command, while somebody does it harm; then the same order is given again."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

from loading import number

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from deployment import Deployment

SHORT_CODE: Final = "12345"
#: An import whose process died is given up after a lease of 15 s.
AGAIN_SECONDS: Final = 60.0


async def imported(
    run: Deployment, people: range, harm: Callable[[subprocess.Popen[bytes]], Awaitable[None]]
) -> str:
    """Have these people's list imported, `harm` on the way; return the broadcast that came of it."""
    rows, key = run.folder / "list.csv", f"list {people.start}"
    rows.write_text("to\n" + "".join(f"{number(i)}\n" for i in people))
    begun = _start(run, rows, key)
    await harm(begun)
    await asyncio.to_thread(begun.communicate)
    deadline = time.monotonic() + AGAIN_SECONDS
    while True:
        again = _start(run, rows, key)
        told, said = await asyncio.to_thread(again.communicate)
        if again.returncode == 0:
            return str(json.loads(told)["id"])
        assert time.monotonic() < deadline, f"the list can't be imported again: {told!r} {said!r}"


def _start(run: Deployment, rows: Path, key: str) -> subprocess.Popen[bytes]:
    order = ["send", str(rows), "--body", "hello", "--from", SHORT_CODE, "--yes", "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "broadcaster", *order, "--idempotency-key", key],
        env=run.environment,
        cwd=run.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
