"""The services of a compose file as processes of this machine, each with a loopback address of its own.

An address for each (127.N.SERVICE.NUMBER, Linux) lets every port stay as it is, also where a service runs
twice.
What must be put in place of what a container has is kept in `Fleet.substitutions`, to be printed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import yaml

from broadcaster.store.server_binary import find_server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from compose_file import HealthCheck, Service

#: One for each fleet, so that two of them do not meet.
NETWORK: Final = f"127.{70 + os.getpid() % 150}"
#: What images of others start, which their Dockerfiles say.
ENTRYPOINTS: Final = {"prom/prometheus": "prometheus", "grafana/grafana": "grafana"}
#: An address that, in a container, means the container.
_ITSELF: Final = re.compile(r"(?<![\w.-])(?:0\.0\.0\.0|127\.0\.0\.1|localhost)(?![\w.-])")
_POLL_SECONDS: Final = 0.05


class FleetError(Exception):
    """A service did not do what the file asks of it; the message has the end of its log."""


@dataclass
class Running:
    """One container's process, and what its health checks found."""

    service: Service
    address: str
    process: asyncio.subprocess.Process
    environment: dict[str, str]
    folder: Path
    log: Path
    healthy: bool = False
    checks: int = 0
    said: str = ""

    def tail(self) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-12:])


@dataclass
class Fleet:
    """All of them. `scale` says how often a service runs, once by default."""

    services: Mapping[str, Service]
    project: Path
    scratch: Path
    scale: Mapping[str, int] = field(default_factory=dict)
    python: str = ""
    """An interpreter with Broadcaster installed, as the image has one; "" for this one and this checkout."""
    running: list[Running] = field(default_factory=list)
    substitutions: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    _watching: list[asyncio.Task[None]] = field(default_factory=list)

    def addresses(self, name: str) -> list[str]:
        """Return the addresses of a service."""
        if name not in self.services:
            raise FleetError(f"{name} is no service of the file")
        number = list(self.services).index(name) + 1
        return [f"{NETWORK}.{number}.{one + 1}" for one in range(self.scale.get(name, 1))]

    def of(self, name: str) -> list[Running]:
        """Return the processes of a service."""
        return [one for one in self.running if one.service.name == name]

    async def start(self) -> None:
        """Start each service once what it needs is as it wants it. Raises `FleetError`."""
        for service in self.services.values():
            image = service.image.partition(":")[0]
            if image in ENTRYPOINTS and not shutil.which(ENTRYPOINTS[image]):
                self.left_out[service.name] = f"no {ENTRYPOINTS[image]} on this machine"
                continue
            for needed, condition in service.needs.items():
                for one in self.of(needed):
                    await self._until(one, condition)
            for address in self.addresses(service.name):
                await self._start(service, address)
        for one in self.running:
            if one.service.health:
                await self._until(one, "service_healthy")

    async def run(self, name: str, *command: str) -> str:
        """Do as `docker compose exec NAME COMMAND`; return what it printed. Raises `FleetError`."""
        one = self.of(name)[0]
        code, out, err = await self._command(one, command, 60)
        if code:
            raise FleetError(f"{' '.join(command)} ended with {code}: {err or out}")
        return out

    async def stop(self) -> dict[str, str]:
        """Stop all, those first that others need last; return how each ended, by name and number."""
        for task in self._watching:
            task.cancel()
        ended: dict[str, str] = {}
        for name in reversed(list(self.services)):
            alike = self.of(name)
            for one in alike:
                with contextlib.suppress(ProcessLookupError):
                    one.process.send_signal(signal.Signals[one.service.stop_signal])
            for number, one in enumerate(alike, 1):
                ended[f"{name}-{number}"] = await _ending(one)
        return ended

    async def _start(self, service: Service, address: str) -> None:
        folder = self.scratch / f"{service.name}-{address.rpartition('.')[2]}"
        folder.mkdir()
        places = {inside: self._place(folder, inside, source) for inside, source in service.mounts.items()}
        here = {**places, "/tmp": str(folder / "tmp")}  # noqa: S108 - the container's, put elsewhere
        (folder / "tmp").mkdir()
        variables = {
            k: self._translated(v, address, here) for k, v in service.environment.items() if k != "PATH"
        }
        entrypoint = ENTRYPOINTS.get(service.image.partition(":")[0])
        command = (*([entrypoint] if entrypoint else ()), *service.command)
        program, *words = [self._translated(word, address, here) for word in command]
        words += self._additions(service, address, here)
        _provide(folder / "bin", address, self.python or sys.executable)
        environment = {"PATH": f"{folder / 'bin'}:/usr/bin:/bin", **variables}
        if service.ours and not self.python:
            environment["PYTHONPATH"] = str(self.project)
        log = folder / "log"
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                str(folder / "bin" / program),
                *words,
                cwd=here.get(service.folder, folder),
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        one = Running(service, address, process, environment, folder, log)
        self.running.append(one)
        if service.health:
            self._watching.append(asyncio.create_task(self._watch(one, service.health)))

    def _additions(self, service: Service, address: str, here: Mapping[str, str]) -> list[str]:
        """Return the options that say what a container says by its mere being: its address, its folder."""
        added: list[str] = []
        if service.command[:1] == ("valkey-server",):
            added = ["--bind", address, "--dir", here[service.folder if service.folder in here else "/data"]]
        if service.image.startswith("prom/prometheus:"):
            added = [f"--web.listen-address={address}:9090"]
        if added:
            self._note(f"{service.name}: adds {' '.join(added)}")
        return added

    def _place(self, folder: Path, inside: str, source: str) -> str:
        """Return the folder here that stands for a container's: a volume's, or a copy of the project's."""
        if source.startswith("./"):
            copy = folder / "mounts" / inside.strip("/").replace("/", "-")
            shutil.copytree(self.project / source, copy)
            for path in copy.glob("*.yml"):
                path.write_text(self._targets(path.read_text(encoding="utf-8")), encoding="utf-8")
            return str(copy)
        place = self.scratch / "volumes" / source if source else folder / "volume"
        place.mkdir(parents=True, exist_ok=True)
        return str(place)

    def _targets(self, text: str) -> str:
        """Return a Prometheus configuration that names addresses: here is no DNS of services."""
        config = yaml.safe_load(text)
        for job in config.get("scrape_configs", ()):
            found = job.pop("dns_sd_configs", ())
            names = [(name, one["port"]) for one in found for name in one["names"]]
            targets = [f"{at}:{port}" for name, port in names for at in self.addresses(name)]
            if targets:
                job.setdefault("static_configs", []).append({"targets": targets})
                self._note(f"prometheus: job {job['job_name']} asks {', '.join(targets)}, not the DNS")
        return self._translated(yaml.safe_dump(config), self.addresses("prometheus")[0], {})

    def _translated(self, text: str, address: str, places: Mapping[str, str]) -> str:
        """Return a text of the file with addresses and folders of this machine."""
        names = "|".join(map(re.escape, self.services))
        told = re.sub(rf"(?<![\w.-])({names})(?=:\d)", lambda match: self.addresses(match[1])[0], text)
        told = _ITSELF.sub(address, told)
        if not places:
            return told
        folders = "|".join(re.escape(inside) for inside in sorted(places, key=len, reverse=True))
        return re.sub(rf"(?<![\w/.-])({folders})(?![\w-])", lambda match: places[match[1]], told)

    def _note(self, text: str) -> None:
        if text not in self.substitutions:
            self.substitutions.append(text)

    # -- health

    async def _watch(self, one: Running, check: HealthCheck) -> None:
        """Run the health check at its interval; `retries` in a row that fail after the start are too many."""
        began, failed = time.monotonic(), 0
        command = [_ITSELF.sub(one.address, word) for word in check.command]
        while True:
            try:
                code, out, err = await self._command(one, command, check.timeout)
            except FleetError as error:
                code, out, err = 1, str(error), ""
            one.checks += 1
            one.said = (out or err).strip()
            if code == 0:
                one.healthy, failed = True, 0
            elif one.healthy or time.monotonic() - began > check.start_period:
                failed += 1
                one.healthy = one.healthy and failed < check.retries
            # Compose looks more often while a service starts: every interval is what it does at least
            await asyncio.sleep(check.interval if one.healthy else min(0.5, check.interval))

    async def _until(self, one: Running, condition: str) -> None:
        deadline = time.monotonic() + 60
        while True:
            if one.process.returncode is not None:
                raise FleetError(f"{one.service.name} ended with {one.process.returncode}:\n{one.tail()}")
            if condition == "service_started" or one.healthy:
                return
            if time.monotonic() > deadline:
                raise FleetError(f"{one.service.name} does not get well: {one.said}\n{one.tail()}")
            await asyncio.sleep(_POLL_SECONDS)

    async def _command(self, one: Running, command: Sequence[str], limit: float) -> tuple[int, str, str]:
        """Run a command in a container's place; return exit code, output and errors."""
        program = shutil.which(command[0], path=one.environment["PATH"])
        if program is None:
            raise FleetError(f"there is no {command[0]} on this machine")
        process = await asyncio.create_subprocess_exec(
            program,
            *command[1:],
            cwd=one.folder,
            env=one.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), limit)
        except TimeoutError:
            raise FleetError(f"{' '.join(command)} takes longer than {limit:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode or 0, out.decode(), err.decode()


async def _ending(one: Running) -> str:
    """Wait for a process that was told to stop; say how it ended."""
    began = time.monotonic()
    try:
        code = await asyncio.wait_for(one.process.wait(), one.service.grace_seconds)
    except TimeoutError:
        one.process.kill()
        await one.process.wait()
        return f"killed after {one.service.grace_seconds:g} s"
    return f"exit {code} after {time.monotonic() - began:.1f} s"


def _provide(folder: Path, address: str, python: str) -> None:
    """Put into a folder what a container has on its PATH, as far as it is here."""
    cli = shutil.which("valkey-cli") or shutil.which("redis-cli")
    ping = f"{python} -P -m broadcaster health redis --url redis://{address}:6379 >&2 && echo PONG"
    programs = {
        "broadcaster": f'exec {python} -P -m broadcaster "$@"',
        "valkey-server": f'exec {find_server().path} "$@"',
        "valkey-cli": f'exec {cli} -h {address} "$@"' if cli else ping,
    }
    for program in ("prometheus", "promtool", "wget", "grafana"):
        if found := shutil.which(program):
            programs[program] = f'exec {found} "$@"'
    folder.mkdir(parents=True)
    for program, line in programs.items():
        (folder / program).write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
        (folder / program).chmod(0o755)
