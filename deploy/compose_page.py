"""Types what deploy/docker.md tells to type: in containers, and over the API."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
from typing import TYPE_CHECKING, Final

from compose_processes import FleetError

if TYPE_CHECKING:
    from pathlib import Path

    from compose_processes import Fleet

_BLOCK: Final = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_KEY: Final = re.compile(r"\bbc_live_\S+")


def commands(page: Path, section: str = "") -> list[str]:
    """Return the commands of a page's sh blocks, or of those below a heading; continued lines are joined."""
    text = page.read_text(encoding="utf-8")
    if section:
        _, _, text = text.partition(f"\n## {section}\n")
        text = text.partition("\n## ")[0]
    joined = (re.sub(r"\\\n\s*", "", block) for block in _BLOCK.findall(text))
    return [line for block in joined for line in block.splitlines() if line]


async def follow(fleet: Fleet, page: Path) -> list[str]:
    """Run what can be run without an engine; return a line for each. Raises `FleetError`."""
    seen: list[str] = []
    variables = dict(os.environ)
    for command in commands(page, "With Docker"):
        if command.startswith("docker compose exec "):
            _, _, _, name, *words = shlex.split(command)
            out = await fleet.run(name, *words)
            if found := _KEY.search(out):
                variables["BROADCASTER_API_KEY"] = found[0]
        elif command.startswith("curl ") and shutil.which("curl"):
            out = await _typed(command.replace("127.0.0.1", fleet.addresses("api")[0]), variables)
        else:
            continue
        words = _KEY.sub("bc_live_…", out).split()
        seen.append(f"{command[:60]}… → {' '.join(words)[:60]}…")
    return seen


async def _typed(command: str, variables: dict[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", command, env=variables, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    if process.returncode or b'"problems/' in out or b'"status":4' in out:
        raise FleetError(f"{command}: {out.decode()}")
    return out.decode()
