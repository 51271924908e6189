"""What a host last knew of Redis: of this installation alone, and never worse than knowing nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.store.witness import Witness

if TYPE_CHECKING:
    from pathlib import Path


def test_it_knows_what_was_written_last(tmp_path: Path) -> None:
    path = tmp_path / "data" / "seen.bc"
    assert Witness(path, "e1").read() == 0
    Witness(path, "e1").write(7)
    Witness(path, "e1").write(8)
    assert Witness(path, "e1").read() == 8
    assert [p.name for p in path.parent.iterdir()] == ["seen.bc"]


def test_another_installation_is_none_of_its_business(tmp_path: Path) -> None:
    path = tmp_path / "seen.bc"
    Witness(path, "e1").write(7)
    assert Witness(path, "e2").read() == 0


@pytest.mark.parametrize("content", [b"", b"e1", b"e1 x", b"\xff\xfe", b"e1 -3"])
def test_a_file_that_says_nothing_is_as_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "seen.bc"
    path.write_bytes(content)
    assert Witness(path, "e1").read() == 0


def test_where_nothing_can_be_written_nothing_breaks(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    Witness(tmp_path / "file" / "seen.bc", "e1").write(7)
