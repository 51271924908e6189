"""Every command of the README is run: against a simulated Twilio, in a checkout whose venv is prepared.

`make` runs as written, but what it starts is made small: the demo has few recipients, of the tests one file
is collected, the linters are only asked for their version; PYTHON= is tried in test_makefile. What only asks
or tells something is called in this process: to start one for each took longer than all they do.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from commanding import Desk, accepted, simulated_twilio
from serving import free_port

from broadcaster.cli.broadcasts import broadcasts
from broadcaster.cli.senders import senders
from broadcaster.cli.settings_table import describe
from broadcaster.simulator.config import ACCOUNT_SID, TEMPLATE_SID
from broadcaster.simulator.verify_settings import VERIFY_SID

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
SENDER: Final = "+14155550190"
SELF: Final = "+14155550199"
#: How a command in the running text begins.
_BEGINS: Final = re.compile(
    r"(?:[A-Z_]+=\S+ )?(?:make|broadcaster(?![/.])|docker(?![-.])|apt|pip|git|\./?\S+/run)\b.*"
)
#: What can't be run here, and who looks after it.
ELSEWHERE: Final = {
    "apt install python3 python3-venv make": "test_makefile: the first line, and when it is printed",
    "docker compose up --build": "test_deployment_files: the images and what they start",
    "pip install floodcast": "tests/api/test_client: a wheel, installed with httpx alone",
}

#: One demo is enough, and a bench takes half an hour: of those make says what it would do.
_TOLD_ONLY: Final = re.compile(r"^make (demo (?=PYTHON=|ARGS=)|bench)")

_PYTHON: Final = """#!/bin/sh
case "$1 $2" in "-m pytest") set -- "$@" --collect-only -q tests/unit/test_makefile.py ;; esac
exec {python} "$@"
"""
_BROADCASTER: Final = """#!/bin/sh
[ "$1" = demo ] && set -- "$@" --recipients 50
exec {python} -m broadcaster "$@"
"""
_TOOL: Final = """#!/bin/sh
exec {python} -c "from importlib.metadata import version; print(version('{package}'))"
"""


def commands() -> list[str]:
    """Return the README's commands: lines of its sh blocks, continued ones joined, and those in the text."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    joined = (re.sub(r"\\\n\s*", "", block) for block in blocks)
    found = [line for block in joined for line in block.splitlines() if line.strip()]
    found += [span for span in spans if _BEGINS.fullmatch(span)]
    return list(dict.fromkeys(found))


def settings() -> list[str]:
    """Return the names in the README's block for `.env`."""
    block = re.search(r"called `\.env`:\n\n```\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert block is not None
    return [line.partition("=")[0] for line in block[1].splitlines()]


@pytest.fixture(scope="module")
def twilio() -> Iterator[str]:
    with simulated_twilio(senders={SENDER: 10, f"whatsapp:{SELF}": 80}) as url:
        yield url


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, twilio: str) -> Path:
    """A checkout after `make install`, with the README's `.env` and list."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("Makefile", "README.md", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    for name in ("broadcaster", "workers", "tests", ".ci"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    programs = {"python": _PYTHON, "broadcaster": _BROADCASTER}
    tools = {"ruff": "ruff", "mypy": "mypy", "lint-imports": "import-linter"}
    (folder / ".venv/bin").mkdir(parents=True)
    for name in ("pyvenv.cfg", ".installed", ".installed-dev"):  # in the order in which make makes them
        (folder / ".venv" / name).touch()
    for name in (*programs, *tools):
        path = folder / ".venv/bin" / name
        text = programs.get(name, _TOOL)
        path.write_text(text.format(python=sys.executable, package=tools.get(name)), encoding="utf-8")
        path.chmod(0o755)
    values = {
        "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        "TWILIO_AUTH_TOKEN": "simulator",
        "TWILIO_PHONE_NUMBER": SENDER,
    }
    lines = [f"{name}={values[name]}" for name in settings()] + [f"TWILIO_API_BASE_URL={twilio}"]
    (folder / ".env").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (listing,) = (command for command in commands() if "> people.csv" in command)
    subprocess.run(["bash", "-c", listing], cwd=folder, check=True)
    (folder / "chats.csv").write_text("to,name\nwhatsapp:+14155550100,Ada\n", encoding="utf-8")
    return folder


def filled(command: str) -> str:
    """Put in what a reader puts in."""
    return command.replace("+1…", SELF).replace("HX…", TEMPLATE_SID)


def call(folder: Path, command: str, **more: str) -> tuple[int, str]:
    """Run one command of ours in this process, with the folder's `.env`; return its exit code and output."""
    from_file = dict.fromkeys(("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_PHONE_NUMBER"), "")
    code, out, err = Desk(folder, "", from_file | more).call(*shlex.split(filled(command), comments=True)[1:])
    return code, out + err


def start(folder: Path, command: str, **more: str) -> subprocess.Popen[str]:
    ours = ("TWILIO_", "REDIS_", "BROADCASTER_", "MAKE", "MFLAGS", "PYTHON", "VENV", "ARGS")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    path = f"{folder / '.venv/bin'}:{clean['PATH']}"
    return subprocess.Popen(
        ["bash", "-c", _TOLD_ONLY.sub(r"make -n \1", filled(command))],
        cwd=folder,
        env=clean
        | {
            "PATH": path,
            "BROADCASTER_METRICS_PORT": "0",
            "BROADCASTER_API_PORT": "0",
            "BROADCASTER_EXPORTER_PORT": "0",
            **more,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


#: What stays until it is told to end, and what says that it is there.
STAY: Final = {
    **{f"broadcaster {role}": f"{role}.started" for role in ("worker", "api", "exporter")},
    "broadcaster up": "Broadcaster is up",
}

RUN: Final = [command for command in commands() if command not in ELSEWHERE]


#: What runs all tests, in one way or another (CI is that), and what starts several processes.
_LONG: Final = re.compile(r"\.ci/run|make check|[A-Z_]+=.*|broadcaster (up|exporter).*")


@pytest.mark.parametrize(
    "command",
    [pytest.param(one, marks=[pytest.mark.slow] * bool(_LONG.fullmatch(one))) for one in RUN],
)
def test_command(command: str, checkout: Path, twilio: str, redis_url: str) -> None:
    operating = command.startswith("broadcaster ") and " send " not in command
    before = len(accepted(twilio))
    ours = {"REDIS_URL": redis_url, "TWILIO_VERIFY_SERVICE_SID": VERIFY_SID} if operating else {}
    there = STAY.get(" ".join(command.split()[:2]))
    if operating and not there:
        code, shown = call(checkout, command, **ours)
        assert code == 0, shown
        return
    if command.startswith("broadcaster up"):
        ours = {"BROADCASTER_API_PORT": str(free_port())}
    with start(checkout, command, **ours) as process:
        if there:
            assert process.stdout is not None
            shown = next(line for line in process.stdout if there in line)
            process.send_signal(signal.SIGTERM)
        else:
            shown = ""
        rest, _ = process.communicate(timeout=30)
    shown += rest
    assert process.returncode == 0, shown
    assert "Traceback" not in shown
    if " send " in command:
        assert len(accepted(twilio)) - before == (0 if "--dry-run" in command else 1), shown
        assert "Hi Ada, the water is rising" in shown or "accepted" in shown
    if "--fallback-content-sid" in command:  # nobody wrote to that sender
        assert accepted(twilio)[-1]["content_sid"] == TEMPLATE_SID
    if command == "make demo":
        assert "nobody was messaged twice" in shown
    if "make test" in command or command in ("make check", ".ci/run"):
        assert re.search(r"\d+(?:/\d+)? tests collected", shown), shown


@pytest.mark.slow
def test_the_first_message_of_the_page_about_twilio(checkout: Path, twilio: str) -> None:
    page = (ROOT / "deploy/twilio.md").read_text(encoding="utf-8")
    (first, *others) = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    before = len(accepted(twilio))
    with start(checkout, f"set -e\n{first}") as process:
        shown, _ = process.communicate(timeout=60)
    assert process.returncode == 0, shown
    assert "Ready to send" in shown
    assert len(accepted(twilio)) == before + 1, shown
    for command in others:
        with start(checkout, f"set -e\n{command}") as process:
            shown, _ = process.communicate(timeout=30)
        assert process.returncode == 0, shown


def test_what_is_looked_after_elsewhere_is_in_the_readme() -> None:
    assert set(ELSEWHERE) <= set(commands())
    assert len(RUN) >= 14


@pytest.mark.parametrize(("group", "line"), [(broadcasts, "broadcasts list"), (senders, "senders list")])
def test_the_subcommands_in_a_comment_exist(group: object, line: str) -> None:
    (command,) = (found for found in commands() if line in found)
    named = re.findall(r"\b[a-z]+\b", command.partition("#")[2].replace("--rate", ""))
    assert named
    assert set(named) <= set(getattr(group, "commands"))  # noqa: B009 - click's groups are untyped here


def test_the_variables_it_names_are_settings() -> None:
    named = set(re.findall(r"\b(?:TWILIO|BROADCASTER|REDIS)_[A-Z_]+\b", README))
    named -= {"BROADCASTER_TEST_SERVER"}  # the tests' own
    there = {row.variable.removesuffix("[_FILE]") for row in describe()}
    groups = {name for name in named if name.endswith("_") and any(one.startswith(name) for one in there)}
    assert {name.removesuffix("_FILE") for name in named - groups} <= there
    assert len(named) > 10
