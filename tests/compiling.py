"""What all processes of a run import, compiled once between them instead of by each for itself.

In a fresh checkout nothing is compiled, and pytest's rewriting of the tests' assertions takes longest. Every
process of `pytest -n` imports all tests, and would do all of that at the same time as the others; so each
does its share before it collects, and finds the others' there. Whoever is early compiles what it does not
find once more, so nobody waits.
"""

from __future__ import annotations

import compileall
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from _pytest.assertion.rewrite import PYC_TAIL, _read_pyc, _rewrite_test, _write_pyc, assertstate_key

if TYPE_CHECKING:
    import pytest

ROOT: Final = Path(__file__).parents[1]
IMPORTED: Final = ("broadcaster", "workers", "tests")


def compile_share(config: pytest.Config, *, number: int, of: int) -> None:
    """Compile every `of`th file that is not yet, from the one with this `number`, from 0, on."""
    if sys.dont_write_bytecode:
        return
    files = [file for folder in IMPORTED for file in (ROOT / folder).rglob("*.py")]
    for file in sorted(files, key=lambda file: (file.stat().st_size, file))[number::of]:
        if file.name.startswith("test_"):
            rewrite(file, config)
        else:
            compileall.compile_file(file, quiet=2)


def rewrite(file: Path, config: pytest.Config) -> Path:
    """Leave where pytest looks for it what it would import for `file`, unless it is there; return where."""
    compiled = file.parent / "__pycache__" / (file.stem + PYC_TAIL)
    if _read_pyc(file, compiled) is None:
        compiled.parent.mkdir(exist_ok=True)
        source, code = _rewrite_test(file, config)
        _write_pyc(config.stash[assertstate_key], code, source, compiled)
    return compiled
