"""A real Prometheus on loopback: deploy/prometheus/prometheus.yml, its jobs turned to processes of a test."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import yaml
from serving import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

DEPLOYED: Final = Path(__file__).parents[1] / "deploy" / "prometheus"
PROGRAM: Final = shutil.which("prometheus")
#: A result: the values by their labels, `__name__`, `job` and `instance` left out.
Vector = dict[frozenset[tuple[str, str]], float]


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running one; `targets`: how many processes it scrapes."""

    http: httpx.AsyncClient
    targets: int

    async def series(self, expression: str) -> list[dict[str, Any]]:
        """Return an expression's series now. Raises AssertionError with what Prometheus says against it."""
        found = (await self.http.get("/api/v1/query", params={"query": expression})).json()
        assert found["status"] == "success", f"{expression}: {found}"
        series: list[dict[str, Any]] = found["data"]["result"]
        return series

    async def ask(self, expression: str) -> Vector:
        """Return the values of an expression that has one for each of our own labels. Raises as `series`."""
        told, result = await self.series(expression), {}
        for series in told:
            labels = {k: v for k, v in series["metric"].items() if k not in ("__name__", "job", "instance")}
            result[frozenset(labels.items())] = float(series["value"][1])
        assert len(result) == len(told), f"{expression}: several for the same labels"
        return result

    async def scraped_since(self, moment: float, patience_seconds: float = 120) -> None:
        """Wait until each target's answer to a scrape after `moment` (unix seconds) can be asked for."""
        deadline = time.monotonic() + patience_seconds
        while True:
            # of anything but a plain selector timestamp() would be that of the question
            seen = await self.ask(f"count((timestamp(up) > {moment:.3f}) and up == 1)")
            if sum(seen.values()) == self.targets:
                return
            assert time.monotonic() < deadline, f"not scraped: {await self.targets_told()}"
            await asyncio.sleep(0.1)

    async def targets_told(self) -> list[dict[str, Any]]:
        """Return what Prometheus says of its targets."""
        found = (await self.http.get("/api/v1/targets")).json()["data"]["activeTargets"]
        return [{name: one[name] for name in ("scrapeUrl", "health", "lastError")} for one in found]

    async def rules(self) -> list[dict[str, Any]]:
        """Return all rules with what became of their last evaluation."""
        groups = (await self.http.get("/api/v1/rules")).json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


def configuration(targets: Mapping[str, list[int]]) -> str:
    """Return the deployed configuration with these ports of loopback for each job, scraped every second."""
    made = yaml.safe_load((DEPLOYED / "prometheus.yml").read_text(encoding="utf-8"))
    made["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    made["rule_files"] = [str(DEPLOYED / name) for name in made["rule_files"]]
    jobs = {job["job_name"]: job for job in made["scrape_configs"] if job["job_name"] in targets}
    assert set(jobs) == set(targets), f"prometheus.yml has no jobs {set(targets) - set(jobs)}"
    for name, job in jobs.items():
        for found in [key for key in job if key.endswith(("_sd_configs", "_interval", "_timeout"))]:
            del job[found]
        job["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in targets[name]]}]
    made["scrape_configs"] = list(jobs.values())
    return str(yaml.safe_dump(made))


@contextlib.asynccontextmanager
async def observing(folder: Path, targets: Mapping[str, list[int]]) -> AsyncIterator[Prometheus]:
    """Run Prometheus until the block ends; `targets`: the ports of each job's processes."""
    assert PROGRAM, "no `prometheus` on PATH: apt-get install prometheus"
    home, port = folder / "prometheus", free_port()
    home.mkdir()
    (home / "prometheus.yml").write_text(configuration(targets))
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - once, before anything else runs
            [
                PROGRAM,
                f"--config.file={home / 'prometheus.yml'}",
                f"--storage.tsdb.path={home / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False
        ) as http:
            await _ready(http, process, home / "log")
            yield Prometheus(http, sum(map(len, targets.values())))
    finally:
        process.terminate()
        process.wait(30)


async def _ready(http: httpx.AsyncClient, process: subprocess.Popen[bytes], log: Path) -> None:
    async with asyncio.timeout(30):
        while True:
            assert process.poll() is None, await asyncio.to_thread(log.read_text)
            with contextlib.suppress(httpx.TransportError):
                if (await http.get("/-/ready")).status_code == 200:
                    return
            await asyncio.sleep(0.05)
