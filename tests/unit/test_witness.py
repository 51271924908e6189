"""What a host last knew of Redis: of this installation alone, and never worse than knowing nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.store.witness import EPOCHS_AT_MOST, Witness

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


def test_it_still_knows_what_it_knew_under_former_epochs(tmp_path: Path) -> None:
    """A backup of before the format was raised, or of before another backup was restored, has those."""
    path = tmp_path / "seen.bc"
    witness = Witness(path, "e1")
    witness.write(7)
    witness.under("e2", ["e1", "e0"])
    witness.write(9)
    for epoch in ("e0", "e1", "e2"):
        assert Witness(path, epoch).read() == 9
    found = Witness(path, "e1")  # an older one was put back, and it is the truth from now on
    found.write(1_000_010)
    assert Witness(path, "e1").read() == 1_000_010
    assert Witness(path, "e2").read() == 9, "whose backups may be put back, too"


def test_another_process_of_this_host_that_is_late_takes_nothing_away(tmp_path: Path) -> None:
    path = tmp_path / "seen.bc"
    late = Witness(path, "e1")
    Witness(path, "e2", ["e1"]).write(9)
    late.write(8)
    assert [Witness(path, epoch).read() for epoch in ("e1", "e2")] == [9, 9]


def test_it_forgets_the_oldest_at_last(tmp_path: Path) -> None:
    path = tmp_path / "seen.bc"
    Witness(path, "now", [f"e{i}" for i in range(2 * EPOCHS_AT_MOST)]).write(1)
    assert len(path.read_text().splitlines()) == EPOCHS_AT_MOST
    assert Witness(path, "now").read() == 1
