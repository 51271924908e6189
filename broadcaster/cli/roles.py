"""`broadcaster worker`, `api`, `exporter`, `simulator`: this process becomes that one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from broadcaster.cli.exits import InputError
from broadcaster.cli.options import settings_from
from broadcaster.cli.own_programs import PYTHON, environment, finding_us

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command()
@click.option("--concurrency", type=click.IntRange(1, 2000), help="Requests in flight at once.")
@click.option("--metrics-port", type=click.IntRange(0, 65535), help="Port of /metrics; 0: any free one.")
@click.option(
    "--env-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Read settings from this file instead of .env.",
)
def worker(concurrency: int | None, metrics_port: int | None, env_file: Path | None) -> None:
    """Run a worker process, which sends what is due.

    SIGTERM lets it finish what is in flight and give back the rest.
    """
    if not settings_from(env_file).redis_address:
        raise InputError(
            "a worker needs a Redis that others queue in: set REDIS_URL "
            "(`broadcaster send` and `broadcaster demo` bring their own server and worker)"
        )
    options = [] if concurrency is None else ["--concurrency", str(concurrency)]
    options += [] if metrics_port is None else ["--metrics-port", str(metrics_port)]
    _become("workers", options, environment(env_file))


@click.command()
@click.option("--host", help="Where to listen; BROADCASTER_API_HOST without it.")
@click.option("--port", type=click.IntRange(0, 65535), help="BROADCASTER_API_PORT without it.")
@click.option("--only", type=click.Choice(["webhooks"]), help="Serve just what must face the internet.")
@click.option(
    "--env-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Read settings from this file instead of .env.",
)
def api(host: str | None, port: int | None, only: str | None, env_file: Path | None) -> None:
    """Serve the HTTP API. Keys are made by `broadcaster keys create`; --help of that says how.

    SIGTERM lets it answer what is under way.
    """
    if not settings_from(env_file).redis_address:
        raise InputError("an API process needs a Redis that workers share with it: set REDIS_URL")
    options = [] if host is None else ["--host", host]
    options += [] if port is None else ["--port", str(port)]
    options += [] if only is None else ["--only", only]
    _become("broadcaster.api", options, environment(env_file))


@click.command()
@click.option("--host", help="Where to listen; BROADCASTER_METRICS_HOST without it.")
@click.option("--port", type=click.IntRange(0, 65535), help="BROADCASTER_EXPORTER_PORT without it.")
@click.option(
    "--env-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Read settings from this file instead of .env.",
)
def exporter(host: str | None, port: int | None, env_file: Path | None) -> None:
    """Show Prometheus what is in Redis: queues, lanes, broadcasts, workers, Redis itself.

    It only reads. Of several one is active; another takes over when that is gone. SIGTERM ends it.
    """
    if not settings_from(env_file).redis_address:
        raise InputError("the exporter needs the Redis that workers share: set REDIS_URL")
    options = [] if host is None else ["--host", host]
    options += [] if port is None else ["--port", str(port)]
    _become("broadcaster.exporter", options, environment(env_file))


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def simulator(options: Sequence[str]) -> None:
    """Run a simulated Twilio on this machine (--help shows its options)."""
    if os.environ.get("BROADCASTER_API_URL"):
        click.echo("The simulator is a Twilio of this machine; BROADCASTER_API_URL is not used.", err=True)
    _become("broadcaster.simulator", list(options), dict(os.environ))


def _become(module: str, options: Sequence[str], variables: dict[str, str]) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(PYTHON[0], [*PYTHON, "-m", module, *options], finding_us(variables))  # noqa: S606 - no shell wanted
