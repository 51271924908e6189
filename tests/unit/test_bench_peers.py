"""The peers beside ours: their programs and packages are there, and what is said of one that can't be run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from benching.peers import COUNT, FOLDER, PEERS, NotRunError, command_in, words_to_run
from pinning import MEASURED, on_core

if TYPE_CHECKING:
    from pathlib import Path

#: A package's or a module's name, and a version; no address.
PINNED = re.compile(r"[\w.-]+(/[\w.-]+)*==v?\d[\w.-]*")
ASYNQ = next(peer for peer in PEERS if peer.id == "peer.asynq")
LOOP = next(peer for peer in PEERS if peer.id == "peer.loop.go")


def test_every_peer_has_its_program_and_its_packages_pinned() -> None:
    for peer in PEERS:
        assert (FOLDER / peer.words[0]).is_file(), peer.id
        needs_nothing = peer.environment == "go_alone"
        assert (FOLDER / f"{peer.environment}.txt").is_file() is not needs_nothing, peer.id


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.txt")), ids=lambda file: file.name)
def test_peers_packages_are_names_and_versions(file: Path) -> None:
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    assert lines
    assert [line for line in lines if not PINNED.fullmatch(line)] == []


def test_a_peer_is_told_how_many_messages_where_its_program_reads_it() -> None:
    for command, told in (
        (["python", "celery_run.py", COUNT], ["python", "celery_run.py", "70"]),
        (["python", "loop_run.py", COUNT, "httpx"], ["python", "loop_run.py", "70", "httpx"]),
        (["node", "bullmq_run.mjs", "folder", COUNT], ["node", "bullmq_run.mjs", "folder", "70"]),
        (["cache/go/asynq_run", COUNT], ["cache/go/asynq_run", "70"]),
    ):
        assert words_to_run(command, 70) == [*on_core(MEASURED), *told]


def a_go(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a script the only Go of this process."""
    go = folder / "bin" / "go"
    go.parent.mkdir()
    go.write_text(f"#!/bin/sh\n{script}\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", str(go.parent))


def test_a_peer_in_go_is_built_once_from_its_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_go(tmp_path, 'echo "$@" >> said', monkeypatch)
    for _ in range(2):
        assert command_in(tmp_path, ASYNQ) == [str(tmp_path / "go" / "asynq_run"), COUNT]
    init, get, build = (tmp_path / "go" / "said").read_text().splitlines()
    assert init == "mod init peer"
    assert get.startswith("get github.com/")
    assert " github.com/hibiken/asynq@v" in get
    assert build == "build -mod=mod -o asynq_run asynq_run.go peer_measure.go"


def test_a_peer_in_go_without_its_modules_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_go(tmp_path, '[ "$1" != get ] || { echo "no such module" >&2; exit 1; }', monkeypatch)
    with pytest.raises(NotRunError, match="its modules can't be had here"):
        command_in(tmp_path, ASYNQ)
    assert command_in(tmp_path, LOOP) == [str(tmp_path / "go_alone" / "loop_run"), COUNT]


def test_without_go_and_without_its_package_it_is_said_that_go_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    with pytest.raises(NotRunError, match="Go is missing here, and its packages can't be installed"):
        command_in(tmp_path, ASYNQ)
