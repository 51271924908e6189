"""deploy/integrations.md and the README do what they say: every call is made, against a real API."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from serving import key_for, serving

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "deploy" / "integrations.md").read_text() + (ROOT / "README.md").read_text()
HOSTS = re.compile(r"https://broadcaster\.example\.org|http://127\.0\.0\.1:8080")
TOLD = {
    "bash": ["bash", "-ec"],
    "python": [sys.executable, "-c"],
    "js": ["node", "--input-type=module", "-e"],
}


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found, language
    return found


@pytest.mark.slow
async def test_every_call_of_the_page_is_taken(store: Store, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("to,name\n+14155550110,Ada\n+14155550111,Bob\n")
    async with serving(store) as api:
        key = await key_for(store)
        for block in blocks("http"):
            head, _, body = block.partition("\n\n")
            (method, path), *headers = (line.split(maxsplit=1) for line in head.splitlines())
            answer = await api.client.request(
                method,
                path,
                headers={name.rstrip(":"): value.replace("KEY", key) for name, value in headers},
                content=body.strip() or None,
            )
            assert answer.status_code == (202 if method == "POST" else 200), (path, answer.text)
        for language, command in TOLD.items():
            if shutil.which(command[0]) is None:
                continue
            for block in blocks(language):
                process = await asyncio.create_subprocess_exec(
                    *command,
                    HOSTS.sub(api.url, block).replace("+1…", "+14155550107"),
                    cwd=tmp_path,
                    env={**os.environ, "BROADCASTER_API_KEY": key, "PYTHONPATH": os.pathsep.join(sys.path)},
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                )
                out, err = await asyncio.wait_for(process.communicate(), 30)
                assert process.returncode == 0, (language, err.decode(), out.decode())
                assert out.strip(), language
        for number in range(8):
            found = await api.client.get("/v1/messages", params={"to": f"+1415555010{number}"})
            if number != 2 or shutil.which("node"):
                assert len(found.json()["data"]) == 1, number
        made = (await api.client.get("/v1/broadcasts")).json()["data"]
        assert sorted((b["name"], b["total"]) for b in made) == [("from Appsmith", 1), ("storm", 2)]
