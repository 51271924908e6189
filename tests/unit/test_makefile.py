"""The two commands of the README, as far as they can be tried without installing anything."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIRST_LINE = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[0]

# What Debian's python3 does without the python3-venv package: half an environment, then exit 1.
WITHOUT_ENSUREPIP = """#!/bin/sh
if [ "$1" = -m ] && [ "$2" = venv ]; then
    mkdir -p "$3/bin" && echo "home = /usr/bin" > "$3/pyvenv.cfg" && ln -s {python} "$3/bin/python"
    echo "The virtual environment was not created successfully because ensurepip is not available."
    exit 1
fi
exec {python} "$@"
"""
TOO_OLD = """#!/bin/sh
case "$2" in *print*) echo 3.9 ;; *) exit 1 ;; esac
"""
# Makes an environment whose pip does nothing but note its arguments.
NOTES = """#!/bin/sh
case "$1 $2" in
    "-c import"*) exec {python} "$@" ;;
    "-m venv")
        mkdir -p "$3/bin" && touch "$3/pyvenv.cfg"
        cp "$0" "$3/bin/python" && cp "$0" "$3/bin/broadcaster" ;;
    "-m pip") [ "$3" = --version ] || echo "pip $*" >> {notes} ;;
    *) echo "$(basename "$0") $*" >> {notes} ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("Makefile", "README.md", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def interpreter(folder: Path, script: str) -> str:
    path = folder / "python-under-test"
    path.write_text(script.format(python=sys.executable, notes=folder / "notes"))
    path.chmod(0o755)
    return str(path)


def make(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    ours = ("MAKE", "MFLAGS", "PYTHON", "VENV", "ARGS")  # a make that runs these tests hands them down
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return subprocess.run(
        ["make", "-C", str(checkout), "--no-print-directory", *arguments],
        capture_output=True,
        text=True,
        env=clean,
        check=False,
    )


@pytest.mark.parametrize("target", ["demo", "test"])
def test_without_ensurepip_the_readmes_first_line_is_printed(checkout: Path, target: str) -> None:
    python = interpreter(checkout, WITHOUT_ENSUREPIP)
    for _ in range(2):  # half an environment must not look whole the next time
        done = make(checkout, target, f"PYTHON={python}")
        assert done.returncode != 0
        assert done.stderr.splitlines()[0] == FIRST_LINE
        assert done.stdout == ""


def test_the_first_line_names_the_packages() -> None:
    assert "apt install python3 python3-venv make" in FIRST_LINE


def test_without_the_interpreter_too(checkout: Path) -> None:
    done = make(checkout, "demo", "PYTHON=no-such-python")
    assert done.returncode != 0
    assert FIRST_LINE in done.stderr


def test_an_old_python_gets_one_plain_sentence(checkout: Path) -> None:
    python = interpreter(checkout, TOO_OLD)
    done = make(checkout, "test", f"PYTHON={python}")
    assert done.returncode != 0
    sentence = f"Broadcaster needs Python 3.11 or later and {python} is 3.9: choose another with PYTHON=."
    assert done.stderr.splitlines()[0] == sentence


def test_it_installs_once_and_again_only_when_something_changed(checkout: Path) -> None:
    python, notes = interpreter(checkout, NOTES), checkout / "notes"

    def run(*arguments: str) -> list[str]:
        notes.write_text("")
        assert make(checkout, *arguments, f"PYTHON={python}").returncode == 0
        return notes.read_text().splitlines()

    pip = "pip -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable"
    pytest = "python -m pytest -n 5 --dist loadfile --no-loadscope-reorder"
    assert run("demo", "ARGS=--exit --json") == [f"{pip} .[server]", "broadcaster demo --exit --json"]
    assert run("demo") == ["broadcaster demo"]
    assert run("test", "ARGS=-x") == [f"{pip} .[dev]", f"{pytest} -x"]
    assert run("demo") == ["broadcaster demo"]
    assert run("test") == [pytest]
    bench = "python tests/bench/everything.py"
    assert run("bench", "ARGS=--quick") == [f"{pip} .[bench]", f"{bench} --quick"]
    assert run("bench") == [bench]
    assert run("test") == [pytest]
    later = (checkout / ".venv" / ".installed-dev").stat().st_mtime + 5
    os.utime(checkout / "constraints.txt", (later, later))
    assert run("demo")[0] == f"{pip} .[server]"


def test_constraints_pin_every_requirement_and_name_no_address() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9A-Za-z.!+]+", line) for line in pinned)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    installed = (extras[name] for name in ("server", "dev", "bench"))
    required = {name_of(line) for line in chain(project["dependencies"], *installed)}
    missing = required - {name_of(line) for line in pinned} - {project["name"]}
    assert missing == set()


def name_of(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name
    return re.sub(r"[-_.]+", "-", name[0]).lower()
