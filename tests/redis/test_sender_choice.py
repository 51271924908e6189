"""Which senders single messages go out from, and whose permits these share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from loading import number

from broadcaster.domain.addresses import Channel
from broadcaster.domain.content import Content
from broadcaster.domain.senders import NoSenderError
from broadcaster.intake.sender_choice import SenderChoice
from broadcaster.intake.singles import Person, SingleMessages, SingleRequest
from broadcaster.settings import load_settings

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

SERVICE = "MG" + "1" * 32
POOL = ["+14155550100", "+14155550101"]
SMS = frozenset({Channel.SMS})
asked: list[str] = []


async def pool(service: str) -> list[str]:
    asked.append(service)
    return POOL


async def test_a_services_pool_is_read_once_and_shares_its_permits(store: Store) -> None:
    asked.clear()
    settings = load_settings(None, twilio_messaging_service_sid=SERVICE)
    singles = SingleMessages(store, settings, pool)
    for i in range(3):
        await singles.post(SingleRequest("k", Content(body="x"), [Person(number(i))]))
    assert asked == [SERVICE]
    keys = store.keys
    assert await store.redis.hget(keys.lane(SERVICE), "rate") == b"2.0"
    assert (await store.redis.hget(keys.lane(SERVICE), "members")).decode().split() == POOL
    (one,) = await singles.post(SingleRequest("k", Content(body="x"), [Person(number(5))], senders=POOL[:1]))
    assert await store.redis.hget(keys.lane(POOL[0]), "pool") == SERVICE.encode()
    assert one.to == number(5)


async def test_what_was_chosen_is_remembered_for_some_seconds(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = SenderChoice(store, load_settings(None), pool)
    assert choice.known((), None, SMS) is None
    with pytest.raises(NoSenderError):
        await choice.choose((), None, SMS)
    chosen = await choice.choose(tuple(POOL), SERVICE, SMS)
    assert choice.known(tuple(POOL), SERVICE, SMS) is chosen
    assert (chosen.service, [lane.name for lane in chosen.lanes]) == (SERVICE, POOL)
    assert {chosen.pick(number(i)) for i in range(50)} == {0, 1}
    monkeypatch.setattr("broadcaster.intake.sender_choice.FRESH_SECONDS", 0.0)
    assert choice.known(tuple(POOL), SERVICE, SMS) is None
