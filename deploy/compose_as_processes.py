"""Starts the services of docker-compose.yml as processes, and shows that a campaign goes through them.

    python deploy/compose_as_processes.py --exit            everything, once; exits 1 where something is amiss
    python deploy/compose_as_processes.py --scale worker=2  and leaves it running until Ctrl-C

For machines without a Docker engine. Commands, environment, health checks, the order of starting and
stopping, signals and grace are the file's own; what takes the place of a container is printed, and what only
an engine shows.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

from compose_campaign import CampaignError, campaign
from compose_file import ComposeError, read_services
from compose_page import follow
from compose_processes import Fleet, FleetError

ROOT: Final = Path(__file__).resolve().parents[1]
ONLY_AN_ENGINE: Final = (
    "that the image builds, and its size",
    "that nothing writes to the read-only file system but /tmp and /data, as user 10001 without capabilities",
    "limits of memory and CPU, restarts, log rotation",
    "the names of services in DNS, the networks, the ports on the host's loopback",
)


def main() -> int:
    """Run as told; return the exit code."""
    parser = argparse.ArgumentParser(description="The compose file's services as processes.")
    parser.add_argument("--file", type=Path, default=ROOT / "docker-compose.yml", help="the compose file")
    parser.add_argument("--exit", action="store_true", help="stop after the campaign")
    parser.add_argument("--scale", action="append", default=[], metavar="SERVICE=N", help="as Compose's")
    parser.add_argument("--python", default="", help="an interpreter with Broadcaster installed")
    parser.add_argument("--recipients", type=int, default=300, help="of the campaign")
    options = parser.parse_args()
    scale = {name: int(number) for name, _, number in (one.partition("=") for one in options.scale)}
    try:
        services = read_services(options.file, os.environ)
    except ComposeError as error:
        print(f"{options.file}: {error}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="compose-") as scratch:
        fleet = Fleet(
            services, options.file.resolve().parent, Path(scratch), {"worker": 2} | scale, options.python
        )
        return asyncio.run(_run(fleet, options))


async def _run(fleet: Fleet, options: argparse.Namespace) -> int:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    failed: list[str] = []
    try:
        await fleet.start()
        _show(fleet)
        print("Through them went:")
        for line in await campaign(fleet, options.recipients):
            print(f"  {line}")
        print("What deploy/docker.md tells to type:")
        for line in await follow(fleet, ROOT / "deploy/docker.md"):
            print(f"  {line}")
        if not options.exit:
            print("Running; Ctrl-C stops it.")
            await told.wait()
    except (FleetError, CampaignError) as error:
        failed.append(str(error))
    finally:
        print("Stopping, those first that others need last:")
        for name, how in (await fleet.stop()).items():
            print(f"  {name}: {how}")
            if not how.startswith("exit 0 "):
                failed.append(f"{name} ended otherwise than with exit 0: {how}")
    print("What only a real engine can show:")
    for line in (*ONLY_AN_ENGINE, *(f"{name}: {why}" for name, why in fleet.left_out.items())):
        print(f"  {line}")
    for line in failed:
        print(f"BROKEN: {line}", file=sys.stderr)
    return 1 if failed else 0


def _show(fleet: Fleet) -> None:
    print("Started as the file says, each on an address of its own:")
    for one in fleet.running:
        how = f"healthy, {one.checks} checks: {one.said}" if one.service.health else "no health check"
        print(f"  {one.service.name} at {one.address}: {' '.join(one.service.command)} ({how})")
    print("In the place of what a container has:")
    print(
        "  names of services, 0.0.0.0 and 127.0.0.1 are the addresses above; /data, /tmp, volumes are folders"
    )
    for line in fleet.substitutions:
        print(f"  {line}")
    left = {key for service in fleet.services.values() for key in service.left_to_the_engine}
    print(f"  not carried out: {', '.join(sorted(left))}")


if __name__ == "__main__":
    sys.exit(main())
