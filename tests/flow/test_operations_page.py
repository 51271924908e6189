"""deploy/operations.md about workers and upgrades: its commands are run, and it quotes what is said."""

from __future__ import annotations

import re
import shlex
import socket
from pathlib import Path
from typing import Final

import pytest
from commanding import Desk, simulated_twilio

from broadcaster.domain.data_format import KNOWN
from broadcaster.store.errors import NewerData, OlderWorkers

PAGE: Final = (Path(__file__).parents[2] / "deploy/operations.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """Return a section's text."""
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def commands(title: str) -> list[str]:
    """Return the lines of a section's blocks."""
    return [
        line
        for block in re.findall(r"^```sh\n(.*?)^```", section(title), re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_commands_about_workers_are_run(tmp_path: Path, redis_url: str) -> None:
    asked = [*commands("Workers"), *commands("Upgrading")]
    assert [shlex.split(one)[:3] for one in asked] == [
        ["broadcaster", "workers", verb] for verb in ("list", "drain", "list")
    ]
    with simulated_twilio() as twilio:
        desk = Desk(tmp_path, twilio, {"REDIS_URL": redis_url})
        with desk.worker() as worker:
            while not desk.json("workers", "list"):
                assert worker.poll() is None
            for command in asked:
                words = shlex.split(command.replace("sender-1", socket.gethostname()))
                code, shown, error = desk.run(*words[1:])
                assert code == 0, shown + error
            assert worker.wait(30) == 0
    assert "worker.draining" in (tmp_path / "worker.log").read_text()


def test_the_errors_it_quotes_are_told_so() -> None:
    page = " ".join(section("Upgrading").split())
    newer, older = str(NewerData(KNOWN, KNOWN - 1)), str(OlderWorkers(["w"], KNOWN))
    assert newer.partition(" Nothing")[0] in page
    assert older.partition(": w")[0] in page
