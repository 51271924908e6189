"""`python -m broadcaster.api`: one API process. `broadcaster api` becomes this."""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
from typing import TYPE_CHECKING, Final

import uvicorn

from broadcaster.api.app import create_app
from broadcaster.api.opening import opened_parts
from broadcaster.api.protocol import BoundedHttp
from broadcaster.runtime import check_owner, opened_store
from broadcaster.settings import SettingsError, load_settings
from broadcaster.store.embedded import redis_for
from broadcaster.store.errors import NewerData, OtherAccount, StoreError
from broadcaster.store.server_binary import EmbeddedServerError
from broadcaster.telemetry import logs
from broadcaster.telemetry.metric import Role
from broadcaster.telemetry.metrics import Metrics
from broadcaster.telemetry.pulse import Pulse
from broadcaster.telemetry.serving import Server

if TYPE_CHECKING:
    from broadcaster.settings import Settings

#: Requests under way when it is told to stop may take this long; uploads are then told to come again.
DRAIN_SECONDS: Final = 20
KEEP_ALIVE_SECONDS: Final = 75
#: New objects until garbage is looked for: those of a hundred requests under way are none.
_GARBAGE: Final = 20_000


def main() -> int:
    """Serve until SIGTERM or SIGINT. Exit codes: 0 stopped, 1 failed, 2 can't be set up."""
    parser = argparse.ArgumentParser(prog="broadcaster api", description="Serve the HTTP API.")
    parser.add_argument("--host", help="where to listen (default: BROADCASTER_API_HOST)")
    parser.add_argument("--port", type=int, help="port, 0 for a free one (default: BROADCASTER_API_PORT)")
    parser.add_argument("--only", choices=["webhooks"], help="serve just what must face the internet")
    options = parser.parse_args()
    try:
        settings = load_settings()
        logs.configure(settings.log_level, settings.log_format, secrets=settings.secrets)
        with redis_for(settings.redis_address, settings.data_dir) as redis_url:
            asyncio.run(_may_start(settings, redis_url))
            return _serve(settings, options, redis_url)
    except (SettingsError, EmbeddedServerError, NewerData, OtherAccount) as error:
        sys.stderr.write(f"broadcaster api: {error}\n")
        return 2
    except StoreError as error:
        sys.stderr.write(f"broadcaster api: {error}\n")
        return 1


def _keep_what_is_here() -> None:
    """Take what is here by now out of garbage collection: to look through it takes a tenth of a request."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE, 20, 100)


async def _may_start(settings: Settings, redis_url: str) -> None:
    """Say in a sentence what uvicorn would make a traceback of. Raises OtherAccount or another StoreError."""
    async with opened_store(settings, redis_url) as store:
        await check_owner(settings, store)


def _serve(settings: Settings, options: argparse.Namespace, redis_url: str) -> int:
    metrics = Metrics(Role.API)
    own_port = settings.api_metrics_port
    app = create_app(
        lambda: opened_parts(settings, redis_url, metrics),
        only_webhooks=options.only == "webhooks",
        metrics=own_port is None,
    )
    pulse = Pulse("webhooks" if options.only else "api")
    counting = None if own_port is None else metrics.serve(own_port, settings.metrics_host, pulse)
    config = uvicorn.Config(
        app,
        host=options.host or settings.api_host,
        port=settings.api_port if options.port is None else options.port,
        loop="uvloop",
        http=BoundedHttp,
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    server = Server(config, pulse, "api", when_up=_keep_what_is_here)
    try:
        server.run()
    finally:
        if counting:
            counting.close()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
