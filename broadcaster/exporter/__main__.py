"""`python -m broadcaster.exporter`: one exporter process. `broadcaster exporter` becomes this."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import platform
import sys
from typing import TYPE_CHECKING, Final

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
from broadcaster.telemetry.serving import Server

if TYPE_CHECKING:
    from broadcaster.settings import Settings

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
    server = Server(config, Pulse("exporter"), "exporter")
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
