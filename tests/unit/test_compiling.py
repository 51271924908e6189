"""What is compiled beforehand is what pytest then takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from _pytest.assertion.rewrite import _read_pyc
from compiling import rewrite

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_pytest_takes_what_was_rewritten_until_the_test_changes(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    file = tmp_path / "test_one.py"
    file.write_text("def test_one():\n    assert 1 + 1 == 3\n", encoding="utf-8")
    compiled = rewrite(file, pytestconfig)
    code = _read_pyc(file, compiled)
    assert code is not None
    assert "@pytest_ar" in code.co_names
    written = compiled.stat().st_mtime_ns
    assert rewrite(file, pytestconfig).stat().st_mtime_ns == written
    file.write_text("def test_one():\n    assert 1 + 1 == 2\n", encoding="utf-8")
    assert _read_pyc(file, compiled) is None
