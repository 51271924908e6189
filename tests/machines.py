"""Several machines on this one: network namespaces joined by two bridges, and processes that live in them.

One bridge leads to Redis (`QUEUE`), the other to Twilio (`WORLD`), so that a host can be cut off from either.
All of it is in namespaces whose names begin with `bcnet`: nothing of this machine's own network is touched.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from conftest import server_under_test

from broadcaster.store.server_binary import ServerBinary

if TYPE_CHECKING:
    from collections.abc import Sequence

QUEUE: Final = "queue"
WORLD: Final = "world"
NETS: Final = {QUEUE: "10.91.1", WORLD: "10.91.2"}
#: Interface `down`: the host notices at once. `silent`: its packets just vanish, both ways.
DOWN: Final = "down"
SILENT: Final = "silent"
_RUN: Final = Path("/run/netns")


def can_make_machines() -> str:
    """Return why no machines can be made here, empty where they can."""
    missing = [name for name in ("ip", "nsenter", "unshare") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)}: not installed"
    name = f"bcnet{os.getpid()}try"
    try:
        made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
        if made.returncode:
            return f"no network namespaces: {made.stderr.strip()}"
        bridge = ["ip", "-n", name, "link", "add", "name", "sw0", "type", "bridge"]
        tried = subprocess.run(bridge, capture_output=True, text=True, check=False)
        pids = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
        apart = subprocess.run(pids, capture_output=True, text=True, check=False)
        return (tried.stderr or apart.stderr).strip()
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@dataclass
class Network:
    """The two bridges and the hosts on them; `name` begins all their names."""

    name: str
    hosts: dict[str, int] = field(default_factory=dict)

    def __enter__(self) -> Self:
        """Make the bridges, in a namespace of their own."""
        try:
            self._space("switch")
            for bridge in NETS:
                _ip("-n", self.space("switch"), "link", "add", "name", bridge, "type", "bridge")
                _ip("-n", self.space("switch"), "link", "set", bridge, "up")
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End what still runs there, and take it all away."""
        self.remove()

    def remove(self) -> None:
        """Remove every namespace of ours, with what runs in it; may be called twice."""
        for path in sorted(_RUN.glob(f"{self.name}-*")) if _RUN.exists() else ():
            pids = subprocess.run(
                ["ip", "netns", "pids", path.name], capture_output=True, text=True, check=False
            )
            for pid in pids.stdout.split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", path.name], capture_output=True, check=False)

    def space(self, host: str) -> str:
        """Return the name of a host's namespace."""
        return f"{self.name}-{host}"

    def _space(self, host: str) -> None:
        _ip("netns", "add", self.space(host))
        _ip("-n", self.space(host), "link", "set", "lo", "up")

    def add(self, host: str, number: int, bridges: Sequence[str] = tuple(NETS)) -> None:
        """Add a host with an address that ends in `number` on each of these bridges."""
        self._space(host)
        self.hosts[host] = number
        for bridge in bridges:
            port = f"{host}.{bridge[0]}"
            peer = ["peer", "name", port, "netns", self.space("switch")]
            _ip("-n", self.space(host), "link", "add", "name", bridge, "type", "veth", *peer)
            _ip("-n", self.space(host), "addr", "add", f"{NETS[bridge]}.{number}/24", "dev", bridge)
            _ip("-n", self.space(host), "link", "set", bridge, "up")
            _ip("-n", self.space("switch"), "link", "set", port, "master", bridge, "up")

    def introduce(self) -> None:
        """Let all hosts know each other's hardware addresses for good, as a router's is known.

        Else a host asks for them again where answers stay away, hears nothing, and takes that for news.
        """
        for bridge, net in NETS.items():
            known = {host: self._hardware(host, bridge) for host in self.hosts}
            on_it = {host: hardware for host, hardware in known.items() if hardware}
            for host, (other, hardware) in itertools.product(on_it, on_it.items()):
                if host != other:
                    neighbour = [f"{net}.{self.hosts[other]}", "lladdr", hardware, "dev", bridge]
                    _ip("-n", self.space(host), "neigh", "replace", *neighbour, "nud", "permanent")

    def _hardware(self, host: str, bridge: str) -> str:
        shown = ["ip", "-n", self.space(host), "-j", "link", "show", "dev", bridge]
        found = subprocess.run(shown, capture_output=True, text=True, check=False)
        return str(json.loads(found.stdout)[0]["address"]) if found.returncode == 0 else ""

    def address(self, host: str, bridge: str) -> str:
        """Return a host's address on a bridge."""
        return f"{NETS[bridge]}.{self.hosts[host]}"

    def cut(self, host: str, bridge: str, how: str) -> None:
        """Cut a host off from a bridge: `DOWN` or `SILENT`."""
        if how == DOWN:
            _ip("-n", self.space(host), "link", "set", bridge, "down")
        else:
            _ip("-n", self.space("switch"), "link", "set", f"{host}.{bridge[0]}", "nomaster")

    def join(self, host: str, bridge: str, how: str) -> None:
        """Undo `cut`."""
        if how == DOWN:
            _ip("-n", self.space(host), "link", "set", bridge, "up")
        else:
            _ip("-n", self.space("switch"), "link", "set", f"{host}.{bridge[0]}", "master", bridge)

    def inside(self, host: str, *command: str) -> list[str]:
        """Return a command that runs in a host's network."""
        return ["nsenter", f"--net={_RUN / self.space(host)}", *command]

    def apart(self, host: str, *command: str) -> list[str]:
        """Return a command with process ids and a host name of its own, too: another machine to others."""
        named = 'hostname "$0"; exec "$@"'
        own = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts"]
        return self.inside(host, *own, "sh", "-c", named, host, *command)

    def binary(self, host: str, folder: Path, program: ServerBinary | None = None) -> ServerBinary:
        """Return a server program that runs in a host's network."""
        program = program or server_under_test()
        path = folder / f"server-on-{host}"
        command = " ".join(self.inside(host, str(program.path)))
        path.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
        path.chmod(0o755)
        return ServerBinary(path, program.version)


def child_of(process: subprocess.Popen[bytes], seconds: float = 10) -> int:
    """Return the pid, as seen here, of what `unshare --fork` has started."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + seconds
    while not (found := path.read_text().split()):
        assert time.monotonic() < deadline, "unshare has started nothing"
        time.sleep(0.01)
    return int(found[0])


def run_inside(network: Network, host: str, arguments: Sequence[str]) -> int:
    """Run this very program again in a host's network, to its end; return its exit code.

    Whoever wants it to end (SIGINT, SIGTERM) ends it, and the network goes all the same.
    """
    command = network.inside(host, sys.executable, *arguments)
    with subprocess.Popen(command, start_new_session=True) as inner:

        def end(_number: int, _frame: object) -> None:
            inner.terminate()

        before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            return inner.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
