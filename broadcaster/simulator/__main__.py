"""`python -m broadcaster.simulator --port N [--config JSON]`: prints one JSON line when it listens."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import signal
import ssl
import sys
from pathlib import Path

import msgspec
import uvloop

from broadcaster.simulator.config import SimulatorConfig
from broadcaster.simulator.server import running_simulator


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT. Exit code 2 for a config that makes no sense."""
    parser = argparse.ArgumentParser(
        prog="broadcaster simulator", description="A faithful fake Twilio on loopback."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--config", default="{}", help="a JSON object, or @FILE")
    parser.add_argument("--certificate", help="PEM file with certificate and key: serve TLS")
    options = parser.parse_args(arguments)
    text: str = options.config
    try:
        raw = Path(text[1:]).read_bytes() if text.startswith("@") else text.encode()
        config = msgspec.json.decode(raw, type=SimulatorConfig)
        uvloop.run(_run(config, options.host, options.port, _tls(options.certificate)))
    except (msgspec.MsgspecError, ValueError, OSError) as error:
        sys.stderr.write(f"simulator: {error}\n")
        return 2
    return 0


def _tls(certificate: str | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def _run(config: SimulatorConfig, host: str, port: int, tls: ssl.SSLContext | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # A million kept messages would make every full collection slow, and nothing here makes cycles that grow.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    async with running_simulator(config, host=host, port=port, tls=tls) as simulator:
        sys.stdout.write(json.dumps({"url": simulator.url}) + "\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
