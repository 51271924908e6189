"""The simulator's Messages resource, by hand, for the tests of it."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx

from broadcaster.simulator.config import SimulatorConfig
from broadcaster.simulator.server import running_simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.simulator.server import Simulator

SENDER = "+14155550199"
TO = "+14155550100"
GOOD = {"To": TO, "From": SENDER, "Body": "hi"}


FAST: dict[str, Any] = {"senders": {SENDER: 1000.0}, "delivery_seconds": 0}
TLS = ssl.create_default_context()  # made once: it takes longer than a whole test


class Api:
    """The Messages resource, by hand."""

    def __init__(self, simulator: Simulator, http: httpx.AsyncClient) -> None:
        self.simulator = simulator
        self.http = http
        self.base = f"/2010-04-01/Accounts/{simulator.world.config.account_sid}"

    async def post(self, **form: Any) -> httpx.Response:
        return await self.http.post(f"{self.base}/Messages.json", data=form)

    async def made(self, **form: Any) -> dict[str, Any]:
        answer = await self.post(**form)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def get(self, sid: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.http.get(f"{self.base}/Messages/{sid}.json")).json()
        return found

    async def page(self, **query: Any) -> dict[str, Any]:
        found: dict[str, Any] = (await self.http.get(f"{self.base}/Messages.json", params=query)).json()
        return found

    def at(self, moment: float) -> None:
        self.simulator.world.now = lambda: moment


@asynccontextmanager
async def api_of(**fields: Any) -> AsyncIterator[Api]:
    config = SimulatorConfig(**(FAST | fields))
    async with (
        running_simulator(config) as simulator,
        httpx.AsyncClient(
            base_url=simulator.url, auth=(config.account_sid, config.token), verify=TLS
        ) as http,
    ):
        yield Api(simulator, http)


def without(*names: str, **more: Any) -> dict[str, Any]:
    return {name: value for name, value in GOOD.items() if name not in names} | more


def recipients(count: int) -> list[str]:
    """Return that many different numbers."""
    return [f"+1415556{number:04d}" for number in range(count)]
