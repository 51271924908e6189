"""A trial account and single messages: who isn't verified is skipped, and Twilio isn't asked with each."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec
from asgi_api import api_here

from broadcaster.domain.record import Reason
from broadcaster.ledger.optouts import opt_out
from broadcaster.simulator.config import ACCOUNT_SID, SimulatorConfig
from broadcaster.simulator.server import running_simulator
from broadcaster.twilio.caller_ids import TrialAccount
from broadcaster.twilio.rest import TwilioRest
from broadcaster.twilio.wire import TwilioUnreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx
    import pytest

    from broadcaster.store.connection import Store

SMS: Final = "+14155550100"
VERIFIED: Final = ("+14155550111", "+14155550112")
LIST: Final = ["+14155550111", "+14155550113", "+14155550112", "+14155550114"]
TRIAL: Final[dict[str, Any]] = {"account_type": "Trial", "verified": VERIFIED}


@asynccontextmanager
async def over_api(store: Store, **config: Any) -> AsyncIterator[httpx.AsyncClient]:
    """The API, with a simulated account behind."""
    config_ = SimulatorConfig(token="0" * 32, **config)
    settings = {"twilio_account_sid": ACCOUNT_SID, "twilio_auth_token": config_.token}
    async with (
        running_simulator(config_) as simulator,
        api_here(store, **settings, twilio_api_base_url=simulator.url) as (api, _),
    ):
        yield api


async def post(api: httpx.AsyncClient, to: Any = LIST, **more: Any) -> list[dict[str, Any]]:
    answer = await api.post("/v1/messages", json={"from": SMS, "body": "Hi", "to": to}, **more)
    assert answer.status_code == 202, answer.text
    messages: list[dict[str, Any]] = answer.json()["messages"]
    return messages


async def test_who_is_not_verified_is_skipped_and_the_answer_says_so(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    get = TwilioRest.get

    async def counted(self: TwilioRest, url: str, *more: Any) -> Any:
        asked.append(url)
        return await get(self, url, *more)

    monkeypatch.setattr(TwilioRest, "get", counted)
    async with over_api(store, **TRIAL) as api:
        key = {"Idempotency-Key": "one"}
        made = await post(api, headers=key)
        told = [("queued", None), ("skipped", 16)] * 2
        assert [(one["state"], one["code"]) for one in made] == told
        assert await post(api, headers=key) == made
        await asyncio.gather(*(post(api) for _ in range(3)))
        assert len(asked) == 2, "whether it is a trial, and who is verified"
        await store.run(opt_out([LIST[1]], "person"))
        assert (await post(api, LIST[1]))[0]["code"] == Reason.OPTED_OUT, "what they want comes first"
        form = {"To": LIST[3], "From": SMS, "Body": "Hi"}
        refused = await api.post(f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json", data=form)
        assert (refused.status_code, refused.json()["code"]) == (400, 21608)


async def test_a_full_account_writes_to_anybody(store: Store) -> None:
    async with over_api(store, verified=VERIFIED) as api:
        assert {one["state"] for one in await post(api)} == {"queued"}


class Twilio:
    """An account that answers as it is told to: None for no answer, or none for now (`answers`)."""

    account_url = "account"

    def __init__(self) -> None:
        self.kind: str | None = "Trial"
        self.verified = ["+14155550111"]
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = 0

    async def get(self, url: str, _: Any = None) -> Any:
        self.asked += url == "account.json"
        await self.answers.wait()
        if self.kind is None:
            raise TwilioUnreachable("no answer")
        account = {"sid": ACCOUNT_SID, "friendly_name": "A", "status": "active", "type": self.kind}
        numbers = [{"phone_number": one} for one in self.verified]
        return Answer(account if url == "account.json" else {"outgoing_caller_ids": numbers})


class Answer:
    """What is read of an answer."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.content = msgspec.json.encode(body)


async def test_only_what_is_known_by_now_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broadcaster.twilio.caller_ids._PATIENCE_SECONDS", 0.01)
    twilio = Twilio()
    first = frozenset(twilio.verified)
    trial = TrialAccount(twilio)  # type: ignore[arg-type]

    async def a_minute_later() -> frozenset[str] | None:
        trial._until = trial._again = 0.0
        return await trial.known()

    async def answered() -> frozenset[str] | None:
        if trial._asking:
            await asyncio.wait((trial._asking,))
        return await trial.known()

    assert await trial.known() == first
    twilio.verified.append("+14155550112")
    assert await trial.known() == first
    both = frozenset(twilio.verified)
    assert await a_minute_later() == both, "an old answer would skip who is verified since"
    twilio.answers.clear()
    assert await a_minute_later() is None, "nobody is skipped by what can't be told soon"
    assert await trial.known() is None
    twilio.answers.set()
    assert await answered() == both
    twilio.kind = None
    assert await a_minute_later() is None
    assert (await answered(), twilio.asked) == (None, 4), "no answer isn't asked for with each message"
    twilio.kind = "Full"
    assert (await a_minute_later(), await answered(), twilio.asked) == (None, None, 5)
    twilio.answers.clear()
    assert await a_minute_later() is None
    await trial.close()
    assert trial._asking is None
