"""What deploy/operations.md says of backups is run, and deploy/scaling.md names settings that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from commanding import Desk

from broadcaster.cli.settings_table import describe

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
PAGE: Final = (DEPLOY / "operations.md").read_text(encoding="utf-8").partition("## Backup and restore\n")[2]
SCALING: Final = (DEPLOY / "scaling.md").read_text(encoding="utf-8")
_BLOCK: Final = re.compile(r"^ *```sh\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


@pytest.mark.slow
async def test_its_commands_are_run(store: Store, tmp_path: Path) -> None:
    section = PAGE.partition("\n## ")[0]
    commands = [line.strip() for block in _BLOCK.findall(section) for line in block.splitlines()]
    assert [shlex.split(one)[1] for one in commands] == ["backup", "restore"]
    prefix = store.keys.prefix.rstrip(":")
    desk = Desk(tmp_path, "http://127.0.0.1:9", {"REDIS_URL": store.url, "BROADCASTER_KEY_PREFIX": prefix})
    for command in commands:
        code, shown, error = desk.run(*shlex.split(command)[1:])
        assert code == 0, shown + error
    assert (tmp_path / "backup.rdb").exists()


def test_the_settings_that_are_named_are_there() -> None:
    known = {row.variable.removesuffix("[_FILE]") for row in describe()}
    named = set(
        re.findall(r"\b(?:BROADCASTER|REDIS|TWILIO)_[A-Z_]*[A-Z]\b", PAGE.partition("\n## ")[0] + SCALING)
    )
    assert named <= known
    assert len(named) > 8


def test_the_files_that_are_linked_or_named_are_there() -> None:
    for name in re.findall(r"\]\(([^)#]+)\)", SCALING + PAGE):
        assert (DEPLOY / name).exists(), name
    for name in re.findall(r"\[b: `([a-z_]+\.py)`", SCALING):
        assert (DEPLOY.parent / "tests/bench" / name).exists(), name
