"""An API with the simulated Twilio behind it, and what was asked of that: for tests of verifications."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from asgi_api import api_here
from conformity import faults
from recorder import recording

from broadcaster.simulator.config import ACCOUNT_SID, SimulatorConfig
from broadcaster.simulator.server import running_simulator
from broadcaster.simulator.verify_settings import VERIFY_SID, RateLimit, VerifyServiceConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx
    from conformity import Request

    from broadcaster.simulator.server import Simulator
    from broadcaster.store.connection import Store

TO: Final = "+14155550100"
SERVICE: Final = VerifyServiceConfig(
    custom_code_enabled=True, rate_limits={"user": RateLimit(max=1, interval=60)}
)
VE: Final = "VE" + "0" * 32


class Desk:
    """An API, the Twilio behind it, and what was asked of that."""

    def __init__(self, client: httpx.AsyncClient, simulator: Simulator, asked: list[Request]) -> None:
        self.client = client
        self.asked = asked
        self._simulator = simulator

    async def post(self, path: str = "", key: str = "", **body: Any) -> httpx.Response:
        headers = {"Idempotency-Key": key} if key else {}
        return await self.client.post(f"/v1/verifications{path}", json=body, headers=headers)

    def known(self, to: str = TO) -> dict[str, Any]:
        """Return the newest verification as the simulator has it, with its code."""
        return self._simulator.world.verifications.rows(to)[-1]


@contextlib.asynccontextmanager
async def desk(store: Store, **config: Any) -> AsyncIterator[Desk]:
    chosen = SimulatorConfig(**{"verify_services": {VERIFY_SID: SERVICE}, **config})
    async with (
        running_simulator(chosen) as simulator,
        recording(simulator.url) as recorder,
        at(store, recorder.url) as client,
    ):
        yield Desk(client, simulator, recorder.requests)
        assert [told for request in recorder.requests for told in faults(request)] == []


@contextlib.asynccontextmanager
async def at(store: Store, twilio: str) -> AsyncIterator[httpx.AsyncClient]:
    async with api_here(
        store,
        twilio_account_sid=ACCOUNT_SID,
        twilio_auth_token="simulator",
        twilio_api_base_url=twilio,
        twilio_verify_service_sid=VERIFY_SID,
    ) as (client, _):
        yield client


def problem(answered: httpx.Response) -> tuple[int, str]:
    return answered.status_code, answered.json()["type"].removeprefix("/problems/")
