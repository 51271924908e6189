"""The client alone: what importing it brings, and its package without the rest."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from api_apart import Apart, api_apart

ROOT = Path(__file__).parents[2]


def test_importing_it_brings_nothing_but_httpx() -> None:
    """Beside the standard library and what httpx needs itself."""
    code = (
        "import sys, httpx; before = set(sys.modules); import broadcaster.client\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    more = {name for name in found if name.partition(".")[0] not in sys.stdlib_module_names}
    assert "broadcaster.client.asking" in more
    assert {name for name in more if not name.startswith("broadcaster.client")} == {"broadcaster"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_its_package_alone_is_installed_and_used(tmp_path: Path) -> None:
    with api_apart(tmp_path / "redis") as apart:
        _use_it_alone(apart, tmp_path)


def _use_it_alone(apart: Apart, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    source = tmp_path / "source"  # building leaves files beside it
    for name in ("broadcaster", "workers"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(tmp_path), str(source)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    subprocess.run([python, *pip[1:], "install", str(wheel)], check=True, cwd=tmp_path)
    listed = subprocess.run([python, *pip[1:], "list"], check=True, capture_output=True, text=True).stdout
    assert not {"redis", "fastapi", "click", "pydantic"} & {line.split()[0] for line in listed.splitlines()}
    call = (
        "import sys; from broadcaster.client import Client\n"
        "with Client(*sys.argv[1:]) as client: print(client.set_rate('54321', 5).rate)"
    )
    out = subprocess.run(
        [python, "-c", call, apart.url, apart.key], check=True, capture_output=True, text=True, cwd=tmp_path
    ).stdout
    assert out == "5.0\n"
    told = subprocess.run(
        [python, "-m", "broadcaster", "send"], check=False, capture_output=True, text=True, cwd=tmp_path
    )
    assert (told.returncode, "pip install 'floodcast[server]'" in told.stderr) == (1, True)
