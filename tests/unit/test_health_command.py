"""`broadcaster health`: 0 and a line, or 1 and the reason, quickly."""

from __future__ import annotations

import json
import socketserver
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from broadcaster.cli.health import PLACES, health
from broadcaster.settings import Settings, variable_of
from broadcaster.telemetry.metrics_server import MetricsServer
from broadcaster.telemetry.pulse import Pulse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for host, port, *_ in PLACES.values():
        monkeypatch.delenv(host, raising=False)
        monkeypatch.delenv(port, raising=False)


def ask(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(health, arguments, standalone_mode=False)
    assert result.exception is None, result.exception
    return result.return_value, result.output.strip()


@contextmanager
def answering(*lines: bytes) -> Iterator[int]:
    """A server that says this to whoever writes to it."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            for line in lines:
                self.wfile.write(line)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield server.server_address[1]
        server.shutdown()


def test_the_places_are_the_settings_own() -> None:
    fields = {variable_of(name): field.default for name, field in Settings.model_fields.items()}
    for host_variable, port_variable, host, port in PLACES.values():
        assert (fields[host_variable], fields[port_variable]) == (host, port)


@pytest.mark.parametrize("listens", ["127.0.0.1", "0.0.0.0", ""])
def test_a_worker_is_found_by_its_settings(monkeypatch: pytest.MonkeyPatch, listens: str) -> None:
    server = MetricsServer(CollectorRegistry(), 0, "127.0.0.1", Pulse("worker"))
    monkeypatch.setenv("BROADCASTER_METRICS_HOST", listens)
    monkeypatch.setenv("BROADCASTER_METRICS_PORT", str(server.port))
    try:
        assert ask("worker") == (0, f"worker: ok, 127.0.0.1:{server.port}/healthz answers")
        code, told = ask("exporter", "--url", f"http://127.0.0.1:{server.port}", "--json")
        assert code == 1
        assert json.loads(told)["why"].endswith("is taken by another process of ours, a worker")
    finally:
        server.close()


def test_settings_of_a_file_count_after_the_environments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.env").write_text("BROADCASTER_API_PORT=1\n", encoding="utf-8")
    assert ask("api", "--env-file", "other.env")[1].startswith("api: 127.0.0.1:1 can't be reached")
    monkeypatch.setenv("BROADCASTER_API_PORT", "2")
    assert ask("api", "--env-file", "other.env")[1].startswith("api: 127.0.0.1:2 can't be reached")
    monkeypatch.setenv("BROADCASTER_API_PORT", "0")
    assert "fixed port" in ask("webhooks")[1]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            b'HTTP/1.1 503 Service Unavailable\r\n\r\n{"detail": "Redis does not answer."}',
            "503: Redis does not",
        ),
        (b"HTTP/1.1 404 Not Found\r\n\r\n<html>", "404: no word why"),
        (b"+PONG\r\n", "answers no HTTP"),
        (b"", "answers no HTTP"),
    ],
)
def test_why_an_api_is_not_well(answer: bytes, told: str) -> None:
    with answering(answer) as port:
        code, line = ask("api", "--ready", "--url", f"http://127.0.0.1:{port}")
    assert code == 1
    assert told in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("answers", "code", "told"),
    [
        ((b"+PONG\r\n",), 0, "ok"),
        ((b"-LOADING Redis is loading the dataset in memory\r\n",), 1, "LOADING"),
        ((b"-NOAUTH Authentication required.\r\n",), 1, "NOAUTH"),
        ((b"",), 1, "nothing"),
    ],
)
def test_redis(answers: tuple[bytes, ...], code: int, told: str) -> None:
    with answering(*answers) as port:
        found, line = ask("redis", "--url", f"redis://127.0.0.1:{port}/0")
    assert found == code
    assert told in line


def test_a_password_is_given_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(b"+OK\r\n", b"+PONG\r\n") as port:
        (tmp_path / "url").write_text(f"redis://:hush%2F@127.0.0.1:{port}\n", encoding="utf-8")
        monkeypatch.setenv("REDIS_URL_FILE", str(tmp_path / "url"))
        assert ask("redis") == (0, f"redis: ok, 127.0.0.1:{port} answers")
    code, line = ask("redis", "--url", "rediss://:hush@127.0.0.1:1/0")
    assert code == 1
    assert "hush" not in line


@pytest.mark.parametrize("arguments", [("worker", "--ready"), ("api", "--url", "ftp://x"), ("postgres",)])
def test_what_can_not_be_asked(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(health, arguments)
    assert result.exit_code == 2


def test_it_loads_nothing_that_takes_long() -> None:
    script = (
        "import sys\n"
        "from broadcaster.cli.root import run\n"
        "code = run(['health', 'worker', '--url', 'http://127.0.0.1:1'])\n"
        "heavy = {'pydantic', 'redis', 'httpx', 'fastapi', 'asyncio', 'http.client'} & set(sys.modules)\n"
        "sys.exit(f'{code} {heavy}' if heavy or code != 1 else 0)\n"
    )
    done: Any = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
