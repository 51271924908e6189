"""What we start for others keeps the ledger's promises, sends nothing by mistake, has few rights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from compose_file import Service, interpolate, read_image, read_services, seconds
from compose_spec import PyCompose

from broadcaster.api.__main__ import DRAIN_SECONDS
from broadcaster.settings import Settings, load_settings

ROOT: Final = Path(__file__).parents[2]
FILE: Final = ROOT / "docker-compose.yml"
TEXT: Final = FILE.read_text(encoding="utf-8")
COMPOSE: Final[dict[str, Any]] = yaml.safe_load(TEXT)
SERVICES: Final = read_services(FILE, {})
OURS: Final = ("worker", "api", "webhooks", "exporter")
#: Whose account it is must not matter while the simulator stands in Twilio's place.
REAL: Final = """\
TWILIO_ACCOUNT_SID=AC11111111111111111111111111111111
TWILIO_AUTH_TOKEN=real
TWILIO_API_KEY=SK11111111111111111111111111111111
TWILIO_API_SECRET=real
TWILIO_PHONE_NUMBER=+14155550199
BROADCASTER_PUBLIC_URL=https://sms.example.com
REDIS_URL=redis://elsewhere:6379
BROADCASTER_METRICS_PORT=1
"""


def with_account(folder: Path, text: str) -> dict[str, Service]:
    """Read the file beside a `.env` with a real account."""
    (folder / "deploy").mkdir()
    (folder / "deploy/Dockerfile").write_bytes((ROOT / "deploy/Dockerfile").read_bytes())
    (folder / ".env").write_text(REAL, encoding="utf-8")
    (folder / "docker-compose.yml").write_text(text, encoding="utf-8")
    return read_services(folder / "docker-compose.yml", {})


def settings(service: Service, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Read the settings as that service would."""
    with monkeypatch.context() as patch:
        for name, value in service.environment.items():
            patch.setenv(name, value)
        return load_settings(None)


def test_it_is_valid_by_composes_specification() -> None:
    merged = yaml.safe_dump(COMPOSE)  # the checker knows no merge keys
    assert sorted(PyCompose.from_yaml(merged).service_names()) == sorted(SERVICES)
    with pytest.raises(Exception, match="read_onyl"):
        PyCompose.from_yaml(merged.replace("read_only", "read_onyl"))


def test_one_service_builds_what_all_use_and_nobody_pulls_it() -> None:
    ours = {
        name: said for name, said in COMPOSE["services"].items() if said["image"].startswith("broadcaster:")
    }
    assert ours.keys() == {*OURS, "simulator"} == {name for name in SERVICES if SERVICES[name].ours}
    assert [name for name, said in ours.items() if "build" in said] == ["worker"]
    assert {said["pull_policy"] for said in ours.values()} == {"never"}


def test_redis_has_room_to_rewrite_its_file() -> None:
    command = SERVICES["redis"].command
    assert command[command.index("--maxmemory") + 1] == "1gb"
    assert COMPOSE["services"]["redis"]["mem_limit"] == "2g"


def test_composes_redis_writes_at_once_and_never_evicts() -> None:
    command = " ".join(SERVICES["redis"].command)
    for option in ("--appendonly yes", "--appendfsync always", "--maxmemory-policy noeviction"):
        assert option in command


@pytest.mark.parametrize("name", OURS)
def test_the_simulator_takes_twilios_place_whatever_account_there_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = settings(with_account(tmp_path, TEXT)[name], monkeypatch)
    assert found.twilio_api_base_url == "http://simulator:9000"
    assert found.credentials() == ("AC" + "0" * 31 + "1", "AC" + "0" * 31 + "1", "simulator")
    assert found.public_url == "http://webhooks:8081"
    assert not {"real"} & set(found.secrets)
    assert found.redis_address == "redis://redis:6379/0"
    assert found.metrics_port == 9464


@pytest.mark.parametrize("name", OURS)
def test_without_one_line_it_sends_for_real(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (line,) = [line for line in TEXT.splitlines(keepends=True) if "REMOVE THIS LINE" in line]
    assert "TWILIO_API_BASE_URL" in line
    found = settings(with_account(tmp_path, TEXT.replace(line, ""))[name], monkeypatch)
    assert found.twilio_api_base_url is None
    assert found.credentials()[1:] == ("SK" + "1" * 32, "real")
    assert (found.public_url, found.twilio_phone_number) == ("https://sms.example.com", "+14155550199")
    assert found.redis_address == "redis://redis:6379/0"


@pytest.mark.parametrize("name", [name for name in COMPOSE["services"] if name != "simulator"])
def test_every_service_is_asked_how_it_is(name: str) -> None:
    health = SERVICES[name].health
    assert health is not None
    assert health.command
    if name in OURS:
        assert health.command == ("broadcaster", "health", name)


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_service_has_few_rights(name: str) -> None:
    said = COMPOSE["services"][name]
    assert said["read_only"] is True
    assert said["cap_drop"] == ["ALL"]
    assert said["security_opt"] == ["no-new-privileges:true"]
    assert said["restart"] == "unless-stopped"
    assert "mem_limit" in said
    assert "cpus" in said
    assert not said["image"].endswith(":latest")
    assert re.search(r":v?\d+\.\d+\.\d+", said["image"])


def test_nothing_is_open_to_other_hosts_and_redis_to_nobody() -> None:
    published = [port for said in COMPOSE["services"].values() for port in said.get("ports", ())]
    assert len(published) == 4
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert COMPOSE["services"]["redis"]["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert "ports" not in COMPOSE["services"]["worker"]


def test_each_gets_longer_to_stop_than_it_may_take() -> None:
    grace = {name: service.grace_seconds for name, service in SERVICES.items()}
    assert grace["worker"] >= Settings.model_fields["shutdown_seconds"].default + 10
    assert min(grace["api"], grace["webhooks"]) >= DRAIN_SECONDS + 5


def test_the_image_runs_as_nobody_and_gets_the_signal_itself() -> None:
    text = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
    image = read_image(ROOT / "deploy/Dockerfile")
    assert re.search(r"^USER \d+:\d+$", text, re.MULTILINE)
    assert (image.entrypoint, image.command, image.stop_signal) == (("broadcaster",), ("worker",), "SIGTERM")
    assert 'CMD ["broadcaster", "health", "worker"]' in text
    assert text.count("FROM python:${PYTHON}") == 2
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert version
    assert f'image.version="{version[1]}"' in text
    assert {said["image"] for said in COMPOSE["services"].values() if "build" in said} == {
        f"broadcaster:{version[1]}"
    }


def test_the_build_gets_what_it_copies() -> None:
    copied = re.findall(
        r"^COPY (?!--from)(.*) \S+$", (ROOT / "deploy/Dockerfile").read_text("utf-8"), re.MULTILINE
    )
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in sent
    assert {f"!{one}" for line in copied for one in line.split()} <= set(sent)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$A-$$A", "x-$A"),
        ("${A:-y}${B:-y}${EMPTY:-y}", "xyy"),
        ("${A-y}${B-y}${EMPTY-y}", "xy"),
        ("${A:+y}${B:+y}${EMPTY:+y}${EMPTY+y}", "yy"),
    ],
)
def test_variables_are_put_in_as_compose_does(text: str, value: str) -> None:
    assert interpolate(text, {"A": "x", "EMPTY": ""}) == value


def test_durations() -> None:
    assert [seconds(text) for text in ("1m30s", "500ms", "2h")] == [90.0, 0.5, 7200.0]
