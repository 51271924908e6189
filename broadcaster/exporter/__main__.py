"""`python -m broadcaster.exporter`: one exporter process. `broadcaster exporter` becomes this."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import signal
import sys
from typing import TYPE_CHECKING, Final

import structlog
import uvicorn
import uvloop
from prometheus_client import CollectorRegistry, Info, ProcessCollector
from redis.exceptions import RedisError

from broadcaster import __version__
from broadcaster.exporter.app import App
from broadcaster.exporter.scraping import Exporter
from broadcaster.settings import SettingsError, load_settings
from broadcaster.store.embedded import redis_for
from broadcaster.store.errors import StoreError, Unreachable
from broadcaster.store.server_binary import EmbeddedServerError
from broadcaster.telemetry import logs
from broadcaster.telemetry.masking import Masking
from broadcaster.telemetry.pulse import Pulse

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from types import FrameType

    from broadcaster.settings import Settings

log = structlog.get_logger("exporter")
DRAIN_SECONDS: Final = 6


def main() -> int:
    """Answer scrapes until SIGTERM or SIGINT. Exit codes: 0 stopped, 1 failed, 2 can't be set up."""
    parser = argparse.ArgumentParser(prog="broadcaster exporter", description="Show what is in Redis.")
    parser.add_argument("--host", help="where to listen (default: BROADCASTER_METRICS_HOST)")
    parser.add_argument(
        "--port", type=int, help="port, 0 for a free one (default: BROADCASTER_EXPORTER_PORT)"
    )
    options = parser.parse_args()
    try:
        settings = load_settings()
        logs.configure(settings.log_level, settings.log_format, secrets=settings.secrets)
        with redis_for(settings.redis_address, settings.data_dir) as redis_url:
            return uvloop.run(_run(settings, options, redis_url))
    except (SettingsError, EmbeddedServerError) as error:
        sys.stderr.write(f"broadcaster exporter: {error}\n")
        return 2
    except StoreError as error:
        sys.stderr.write(f"broadcaster exporter: {error}\n")
        return 1


class _Server(uvicorn.Server):
    """Leaves signals to us, and says where it listens once it does; tells systemd that it comes round."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._pulse = Pulse("exporter")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop."""
        self._pulse.systemd.stopping()
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Come round, ten times a second."""
        self._pulse.beat("event loop")
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        if not self.started:
            return
        host, port = self.config.host, self.servers[0].sockets[0].getsockname()[1]
        self._pulse.systemd.ready()
        log.info("exporter.started", pid=os.getpid(), host=host, port=port)
        if not self.config.port:  # else nobody would know it
            sys.stdout.write(json.dumps({"url": f"http://{host}:{port}"}) + "\n")
            sys.stdout.flush()


async def _run(settings: Settings, options: argparse.Namespace, redis_url: str) -> int:
    exporter = Exporter(
        redis_url,
        settings.redis_prefix,
        Masking(settings.secrets),
        replicas=settings.replicas_to_confirm,
    )
    try:
        with contextlib.suppress(Unreachable, RedisError, OSError):  # it comes back by itself
            await exporter.join()
        return await _serve(settings, options, exporter)
    finally:
        await exporter.close()


async def _serve(settings: Settings, options: argparse.Namespace, exporter: Exporter) -> int:
    config = uvicorn.Config(
        App(exporter, _registry()),
        host=options.host or settings.metrics_host,
        port=settings.exporter_port if options.port is None else options.port,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.handle_exit, number, None)
    keeping = asyncio.ensure_future(exporter.run())
    try:
        await server.serve()
    except SystemExit:  # uvicorn's word for a port that is taken; it has said so
        return 1
    finally:
        keeping.cancel()
    return 0 if server.started else 1


def _registry() -> CollectorRegistry:
    """Return what this process shows of itself."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    build = Info("broadcaster_build", "What is running", registry=registry)
    build.info({"version": __version__, "python": platform.python_version()})
    return registry


if __name__ == "__main__":
    sys.exit(main())
