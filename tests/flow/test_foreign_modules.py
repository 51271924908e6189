"""Modules that lie in the folder a command is typed in never run in place of ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from commanding import simulated_twilio
from test_up import CLEAN, SENDER, account, command, people, up

from broadcaster.cli.own_programs import finding_us

ROOT: Final = Path(__file__).parents[2]
#: As the installed script starts it: that looks into its own folder, not into the current one.
SCRIPT: Final = [sys.executable, "-P", "-m", "broadcaster"]
FOREIGN: Final = "import pathlib; pathlib.Path('ran').write_text(__name__); raise SystemExit(99)"


def lay_out(folder: Path) -> None:
    for name in ("workers/__init__.py", "redis.py", "ctypes.py", "structlog.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(FOREIGN, encoding="utf-8")


def paths(**more: str) -> dict[str, str]:
    """Variables with which a checkout is found from anywhere."""
    given = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {"PYTHONPATH": os.pathsep.join(part for part in given if part), **more}


@pytest.mark.parametrize(
    ("home", "given", "found"),
    [
        ("/clone", None, "/clone"),
        ("/clone", "/more", "/clone:/more"),
        ("/clone", "/clone:/more", "/clone:/more"),
        ("/clone", ":/more:", "/clone:/more"),
        ("/venv/lib/python3.11/site-packages", None, None),
        ("/usr/lib/python3/dist-packages", ":/more", "/more"),
        ("/venv/lib/python3.11/site-packages", ":", None),
    ],
)
def test_our_own_folder_is_found_and_the_current_one_is_left_out(
    home: str, given: str | None, found: str | None
) -> None:
    variables = {"A": "b"} if given is None else {"A": "b", "PYTHONPATH": given}
    expected = {"A": "b"} if found is None else {"A": "b", "PYTHONPATH": found}
    assert finding_us(variables, Path(home)) == expected


def test_a_worker_is_ours(tmp_path: Path) -> None:
    lay_out(tmp_path)
    done = subprocess.run(
        [*SCRIPT, "worker"],
        cwd=tmp_path, env={**CLEAN, **paths(), "REDIS_URL": "redis://127.0.0.1:9"},
        capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert (done.returncode, "TWILIO_ACCOUNT_SID" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_so_are_those_of_send_and_up(tmp_path: Path) -> None:
    lay_out(tmp_path)
    with simulated_twilio(senders={SENDER: 100}) as twilio:
        variables = account(twilio, **paths(PYTHONSAFEPATH="1"))
        sent = command(tmp_path, variables, "send", people(tmp_path, 3), "--body", "Hi", "--yes")
        assert sent.returncode == 0, sent.stderr
        with up(tmp_path, **variables) as (run, said):
            assert said["key"]
            run.terminate()
            assert run.wait(50) == 0
        simulated = subprocess.run(
            [*SCRIPT, "demo", "--recipients", "50", "--exit", "--json"],
            cwd=tmp_path, env={**CLEAN, **paths()}, capture_output=True, text=True, timeout=50, check=False,
        )  # fmt: skip
        assert json.loads(simulated.stdout.splitlines()[-1])["faults"] == [], simulated.stderr
    assert not (tmp_path / "ran").exists()
