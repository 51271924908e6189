"""A process is well while its loops move: to a health check, and to systemd."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import httpx
from prometheus_client import CollectorRegistry

from broadcaster.telemetry.metrics_server import MetricsServer
from broadcaster.telemetry.pulse import Pulse, SystemdSocket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_loop_that_hangs_longest_is_named_and_one_that_ended_is_not() -> None:
    clock = Clock()
    pulse = Pulse("worker", stale_seconds=10, systemd=SystemdSocket({}), clock=clock)
    for part in ("start", "dispatcher", "lease"):
        pulse.beat(part)
    clock.now = 10.0
    assert not pulse.hanging()
    pulse.beat("lease")
    pulse.ended("start")
    clock.now = 13.0
    assert pulse.hanging() == "the dispatcher has not moved for 13 s"
    pulse.beat("dispatcher")
    assert not pulse.hanging()


def test_systemd_hears_of_it_as_long_as_nothing_hangs(tmp_path: Path) -> None:
    place = str(tmp_path / "notify")
    clock = Clock()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(place)
        systemd.setblocking(False)

        def heard() -> Iterator[str]:
            while True:
                try:
                    yield systemd.recv(100).decode()
                except BlockingIOError:
                    return

        out = SystemdSocket({"NOTIFY_SOCKET": place, "WATCHDOG_USEC": "40000000"})
        pulse = Pulse("worker", stale_seconds=20, systemd=out, clock=clock)
        out.ready()
        out.status("waits\nfor Redis")
        pulse.beat("dispatcher")
        pulse.beat("lease")
        assert list(heard()) == ["READY=1", "STATUS=waits for Redis", "WATCHDOG=1"]
        clock.now = 10.0
        pulse.beat("lease")
        assert list(heard()) == ["WATCHDOG=1"]
        clock.now = 21.0
        pulse.beat("lease")
        assert not list(heard())


def test_without_systemd_nothing_is_said() -> None:
    for variables in ({}, {"NOTIFY_SOCKET": "/nowhere/at/all"}, {"NOTIFY_SOCKET": "@gone"}):
        SystemdSocket(variables).ready()
    assert SystemdSocket({"WATCHDOG_USEC": "1000000"}).every_seconds is None
    assert (
        SystemdSocket({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}).every_seconds
        is None
    )


def test_metrics_and_health_have_a_path_each() -> None:
    clock = Clock()
    pulse = Pulse("worker", stale_seconds=10, systemd=SystemdSocket({}), clock=clock)
    pulse.beat("dispatcher")
    server = MetricsServer(CollectorRegistry(), 0, "127.0.0.1", pulse)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
            assert client.get("/metrics").headers["content-type"].startswith("text/plain")
            well = client.get("/healthz")
            assert (well.status_code, well.json()["role"]) == (200, "worker")
            clock.now = 11.0
            ill = client.get("/healthz")
            assert (ill.status_code, ill.json()["status"]) == (503, "the dispatcher has not moved for 11 s")
            assert client.get("/").status_code == 404
    finally:
        server.close()
