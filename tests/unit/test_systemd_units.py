"""deploy/systemd: what systemd itself says of the units, and that they agree with the settings."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from broadcaster.api.__main__ import DRAIN_SECONDS
from broadcaster.settings import Settings, is_secret, variable_of

FOLDER: Final = Path(__file__).parents[2] / "deploy/systemd"
UNITS: Final = sorted(path.name for path in FOLDER.glob("*.service"))
#: The most that `systemd-analyze security` may find open, of 10; it is 1.4.
EXPOSURE: Final = 1.5

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")


def service(name: str) -> dict[str, list[str]]:
    """Return the options of a unit's [Service], each with all its values."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in (FOLDER / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and line and not line.startswith("#"):
            option, _, value = line.partition("=")
            found.setdefault(option, []).append(value)
    return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units as on a host, but for the program, which is another that is there."""
    folder = tmp_path_factory.mktemp("units")
    for path in FOLDER.iterdir():
        text = path.read_text(encoding="utf-8").replace("/opt/broadcaster/bin/broadcaster", "/bin/true")
        (folder / path.name.replace("@", "@9464")).write_text(text, encoding="utf-8")
    return folder


@needs_systemd
def test_systemd_understands_all_of_them(installed: Path) -> None:
    names = [str(path) for path in installed.iterdir()]
    done = subprocess.run(["systemd-analyze", "verify", *names], capture_output=True, text=True, check=False)
    complaints = [
        line for line in done.stderr.splitlines() if str(installed) in line or "broadcaster" in line
    ]
    assert not complaints


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_little_is_open_to_them(name: str, installed: Path) -> None:
    path = installed / name.replace("@", "@9464")
    security = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE * 10:g}", str(path)]
    done = subprocess.run(security, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    level = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert level
    assert float(level[1]) <= EXPOSURE


@pytest.mark.parametrize("name", UNITS)
def test_secrets_come_as_credentials(name: str) -> None:
    said = service(name)
    loaded = {one.partition(":")[0] for one in said["LoadCredential"]}
    secrets = {f"{variable_of(field)}_FILE" for field in Settings.model_fields if is_secret(field)}
    given = dict(one.split("=", 1) for one in said["Environment"])
    taken = {value.removeprefix("%d/") for variable, value in given.items() if variable in secrets}
    assert taken == loaded
    assert {variable.removesuffix("_FILE") for variable in given} <= {
        variable_of(field) for field in Settings.model_fields
    }


@pytest.mark.parametrize("name", UNITS)
def test_each_gets_longer_to_stop_than_it_may_take(name: str) -> None:
    said = service(name)
    longest = (
        Settings.model_fields["shutdown_seconds"].default + 10 if "worker" in name else DRAIN_SECONDS + 5
    )
    assert float(said["TimeoutStopSec"][0]) >= longest
    assert said["KillMode"] == ["mixed"]
    assert said["Type"] == ["notify"]
    # longer than what counts as a hang, so that a health check tells of it before it is ended
    assert float(said["WatchdogSec"][0]) > 60


def test_a_worker_sees_the_others_of_its_host() -> None:
    said = service("broadcaster-worker@.service")
    assert not {"ProtectProc", "ProcSubset", "PrivatePIDs"} & set(said)
    users = {tuple(service(name)["User"]) for name in UNITS}
    assert users == {("broadcaster",)}
