"""docker-compose.yml as Compose reads it: those parts that ours uses; others are refused, not ignored.

Anchors and merges are YAML's. Variables in values are put in as Compose does, `.env` is read for them and for
`env_file`; what the image says (deploy/Dockerfile) counts where the service says nothing.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import yaml
from dotenv import dotenv_values

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: What is carried out as processes, and what only an engine can.
CARRIED_OUT: Final = frozenset(
    [
        "build",
        "command",
        "depends_on",
        "entrypoint",
        "env_file",
        "environment",
        "healthcheck",
        "image",
        "stop_grace_period",
        "stop_signal",
        "volumes",
    ]
)
ENGINES_OWN: Final = frozenset(
    [
        "cap_drop",
        "cpus",
        "logging",
        "mem_limit",
        "networks",
        "ports",
        "pull_policy",
        "read_only",
        "restart",
        "security_opt",
        "tmpfs",
        "user",
    ]
)
_VARIABLE: Final = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<plain>\w+)|\{(?P<name>\w+)(?:(?P<how>:?[-?+])(?P<word>[^}]*))?\})"
)
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class ComposeError(Exception):
    """The file can't be carried out; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Image:
    """What a Dockerfile's last stage says to whoever starts it."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = "SIGTERM"
    folder: str = "/"
    volumes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A command, and when it is run; times in seconds."""

    command: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0
    start_period: float = 0.0
    retries: int = 3


@dataclass(frozen=True, slots=True)
class Service:
    """One service: what is started, after what, how it is asked whether it is well, and how it is stopped."""

    name: str
    image: str
    ours: bool
    command: tuple[str, ...]
    environment: Mapping[str, str]
    needs: Mapping[str, str]
    health: HealthCheck | None
    stop_signal: str
    grace_seconds: float
    mounts: Mapping[str, str]
    """Path in the container → named volume, or `./` path of the project; "" where nobody else has it."""
    folder: str
    left_to_the_engine: tuple[str, ...]


def read_services(path: Path, environment: Mapping[str, str]) -> dict[str, Service]:
    """Return the services in the order in which they may start. Raises `ComposeError`."""
    project = path.parent
    in_file = {k: v or "" for k, v in dotenv_values(project / ".env").items()}
    known = in_file | dict(environment)
    document = _filled(yaml.safe_load(path.read_text(encoding="utf-8")), known)
    services: dict[str, Any] = document["services"]
    # one service builds an image, others may use it
    images = {
        said["image"]: read_image(project / said["build"]["context"] / said["build"]["dockerfile"])
        for said in services.values()
        if "build" in said
    }
    made = {
        name: _service(name, said, project, in_file, images.get(said["image"]))
        for name, said in services.items()
    }
    return {name: made[name] for name in _in_order(made)}


def read_image(path: Path) -> Image:
    """Return what the last stage of a Dockerfile says; exec forms only."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    last = max(i for i, line in enumerate(lines) if line.startswith("FROM "))
    said: dict[str, str] = {}
    variables: dict[str, str] = {}
    for line in lines[last:]:
        word, _, rest = line.partition(" ")
        if word == "ENV":
            variables |= dict(pair.split("=", 1) for pair in shlex.split(rest))
        said[word] = rest.strip()
    return Image(
        tuple(json.loads(said.get("ENTRYPOINT", "[]"))),
        tuple(json.loads(said.get("CMD", "[]"))),
        variables,
        said.get("STOPSIGNAL", "SIGTERM"),
        said.get("WORKDIR", "/"),
        tuple(said.get("VOLUME", "").split()),
    )


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """Return a value with `$X`, `${X}`, `${X:-or}`, `${X:?error}`, `${X:+other}` put in; `$$` is `$`."""

    def one(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        name, how, word = match["name"] or match["plain"], match["how"] or "", match["word"] or ""
        value = variables.get(name)
        there = bool(value) if how.startswith(":") else value is not None
        if how.endswith("+"):
            return word if there else ""
        if there:
            return value or ""
        if how.endswith("?"):
            raise ComposeError(f"{name} is not set: {word}")
        return word

    return _VARIABLE.sub(one, text)


def seconds(text: str | float) -> float:
    """Return the seconds of `1m30s`."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", str(text))
    if "".join(number + unit for number, unit in parts) != str(text):
        raise ComposeError(f"{text!r} is no duration: write it as 90s or 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _filled(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return interpolate(value, variables)
    if isinstance(value, list):
        return [_filled(one, variables) for one in value]
    if isinstance(value, dict):
        return {name: _filled(one, variables) for name, one in value.items()}
    return value


def _service(
    name: str, said: dict[str, Any], project: Path, in_file: Mapping[str, str], built: Image | None
) -> Service:
    if unknown := set(said) - CARRIED_OUT - ENGINES_OWN:
        raise ComposeError(f"services.{name} has {', '.join(sorted(unknown))}, which is not known here")
    image = built or Image()
    mounts = dict.fromkeys(image.volumes, "")
    for mount in said.get("volumes", ()):
        source, inside = mount.split(":")[:2]
        mounts[inside] = source
    entrypoint = _words(said.get("entrypoint")) or image.entrypoint
    return Service(
        name=name,
        image=said["image"],
        ours=built is not None,
        command=(*entrypoint, *(_words(said.get("command")) or image.command)),
        environment={**image.environment, **_environment(said, project, in_file)},
        needs={one: how["condition"] for one, how in said.get("depends_on", {}).items()},
        health=_health(said.get("healthcheck")),
        stop_signal=said.get("stop_signal", image.stop_signal),
        grace_seconds=seconds(said.get("stop_grace_period", "10s")),
        mounts=mounts,
        folder=image.folder,
        left_to_the_engine=tuple(sorted(ENGINES_OWN & set(said))),
    )


def _environment(said: dict[str, Any], project: Path, in_file: Mapping[str, str]) -> dict[str, str]:
    variables: dict[str, str] = {}
    for one in said.get("env_file", ()):
        path = project / one["path"]
        if path == project / ".env":
            variables |= in_file
        elif path.is_file():
            variables |= {k: v or "" for k, v in dotenv_values(path).items()}
        elif one.get("required", True):
            raise ComposeError(f"env_file {path} is not there")
    return variables | {name: str(value) for name, value in said.get("environment", {}).items()}


def _health(said: dict[str, Any] | None) -> HealthCheck | None:
    if said is None or said.get("disable"):
        return None
    kind, *words = said["test"]
    if kind not in {"CMD", "CMD-SHELL"}:
        raise ComposeError(f"a health check that begins with {kind!r} is not known here")
    command = tuple(words) if kind == "CMD" else ("/bin/sh", "-c", *words)
    times = {name: seconds(said[name]) for name in ("interval", "timeout", "start_period") if name in said}
    return HealthCheck(command, retries=int(said.get("retries", 3)), **times)


def _words(said: str | list[str] | None) -> tuple[str, ...]:
    return tuple(shlex.split(said) if isinstance(said, str) else said or ())


def _in_order(services: Mapping[str, Service]) -> list[str]:
    """Return the names so that each comes after what it needs."""
    done: list[str] = []
    while len(done) < len(services):
        able = [n for n, s in services.items() if n not in done and set(s.needs) <= set(done)]
        if not able:
            raise ComposeError(
                f"these wait for each other, or for what is not there: {set(services) - set(done)}"
            )
        done += able
    return done
