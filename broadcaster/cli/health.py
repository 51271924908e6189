"""`broadcaster health ROLE`: is that process of this host well? For container and systemd checks.

It runs every few seconds, so it loads nothing that it does not need: reading the settings by their classes
takes longer than all else together, so the few addresses wanted are taken from the same variables here.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Final

import click

#: Role → (variable of its host, of its port, their defaults as in broadcaster/settings).
PLACES: Final[dict[str, tuple[str, str, str, int]]] = {
    "worker": ("BROADCASTER_METRICS_HOST", "BROADCASTER_METRICS_PORT", "127.0.0.1", 9464),
    "api": ("BROADCASTER_API_HOST", "BROADCASTER_API_PORT", "127.0.0.1", 8080),
    "webhooks": ("BROADCASTER_API_HOST", "BROADCASTER_API_PORT", "127.0.0.1", 8080),
    "exporter": ("BROADCASTER_METRICS_HOST", "BROADCASTER_EXPORTER_PORT", "127.0.0.1", 9465),
}
#: What listens everywhere listens here.
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - read, not bound
_OK: Final = 200
_MOST_BYTES: Final = 65_536


class UnwellError(Exception):
    """Why a process is not well, as a line."""


@click.command()
@click.argument("role", type=click.Choice([*PLACES, "redis"]))
@click.option("--url", default="", help="Where it is: http://HOST:PORT, for redis a redis:// URL.")
@click.option("--ready", is_flag=True, help="Of api, webhooks and exporter: can they serve now, with Redis?")
@click.option("--timeout", default=3.0, type=click.FloatRange(0.1, 60), help="Seconds to wait for an answer.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--env-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Read settings from this file instead of .env.",
)
def health(role: str, *, url: str, ready: bool, timeout: float, as_json: bool, env_file: Path | None) -> int:
    """Say whether a process on this host is well: exit 0, or 1 with a line that says why.

    A process is well while its loops move, Redis or no Redis: one that waits for Redis needs no restart.
    """
    if ready and role in {"worker", "redis"}:
        raise click.UsageError("--ready is for api, webhooks and exporter.")
    try:
        said = _look(role, url, _Variables(env_file), "/readyz" if ready else "/healthz", timeout)
        well = True
    except UnwellError as error:
        said, well = str(error), False
    click.echo(json.dumps({"role": role, "healthy": well, "why": said}) if as_json else f"{role}: {said}")
    return 0 if well else 1


class _Variables:
    """The environment, before it the `.env` file's: as broadcaster/settings reads them."""

    def __init__(self, env_file: Path | None) -> None:
        path = env_file or Path(".env")
        self._in_file: dict[str, str | None] = {}
        if path.is_file():
            from dotenv import dotenv_values  # noqa: PLC0415 - in a container there is no such file

            self._in_file = dotenv_values(path)

    def get(self, name: str) -> str:
        """Return a variable's text, "" where it is not set."""
        return os.environ.get(name) or self._in_file.get(name) or ""


def _look(role: str, url: str, variables: _Variables, path: str, timeout: float) -> str:
    if role == "redis":
        from broadcaster.cli.health_redis import look  # noqa: PLC0415 - only this role needs it

        return look(url or _redis_url(variables), timeout)
    host, port = _place(url) if url else _own_place(role, variables)
    status, answer = _get(host, port, path, timeout)
    shown = f"[{host}]" if ":" in host else host
    if status != _OK:
        why = answer.get("detail") or answer.get("status") or "no word why"
        raise UnwellError(f"{shown}:{port}{path} answers {status}: {why}")
    there = answer.get("role", role)
    if there != role:
        raise UnwellError(f"{shown}:{port} is taken by another process of ours, a {there}")
    return f"ok, {shown}:{port}{path} answers"


def _own_place(role: str, variables: _Variables) -> tuple[str, int]:
    host_variable, port_variable, host, port = PLACES[role]
    host, text = variables.get(host_variable) or host, variables.get(port_variable) or str(port)
    if not text.isdigit() or not 0 < int(text) < 1 << 16:
        raise UnwellError(f"{port_variable} is {text!r}: it can be found by a fixed port only, or by --url")
    return _EVERYWHERE.get(host, host), int(text)


def _place(url: str) -> tuple[str, int]:
    from urllib.parse import urlsplit  # noqa: PLC0415 - rarely wanted

    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host, port = None, 0
    if parts.scheme != "http" or not host:
        raise click.UsageError(f"--url is {url!r}: give http://HOST:PORT of the process itself.")
    return host, port


def _redis_url(variables: _Variables) -> str:
    if path := variables.get("REDIS_URL_FILE"):
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UnwellError(f"REDIS_URL_FILE: cannot read {path}: {error}") from None
    if found := variables.get("REDIS_URL"):
        return found
    raise UnwellError("REDIS_URL is not set")


def _get(host: str, port: int, path: str, timeout: float) -> tuple[int, dict[str, str]]:
    """Return status and JSON of a GET. By hand: an HTTP client takes longer to load than all of this."""
    try:
        with socket.create_connection((host, port), timeout) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
            answer = b""
            while (more := connection.recv(_MOST_BYTES)) and len(answer) < _MOST_BYTES:
                answer += more
    except TimeoutError:
        raise UnwellError(f"{host}:{port} does not answer within {timeout:g} s: it hangs") from None
    except OSError as error:
        raise UnwellError(f"{host}:{port} can't be reached: {error.strerror or error}") from None
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head[9:12]
    if not head.startswith(b"HTTP/1.") or not status.isdigit():
        raise UnwellError(f"{host}:{port} answers no HTTP")
    try:
        found = json.loads(body)
    except ValueError:
        found = {}
    return int(status), found if isinstance(found, dict) else {}
