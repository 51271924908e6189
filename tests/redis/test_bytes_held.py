"""What Redis holds of a recipient and of a single message is bounded: ten million have to fit."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from holding import an_hour_later, completed, held_bytes, loaded, random_number, single_messages, warm

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

SOME = 1_500


def people(count: int, letters: int) -> list[tuple[str, ...]]:
    """Random numbers with as many random letters, which pack as badly as any."""
    chance = random.Random(letters)
    return [
        (
            random_number(chance),
            "".join(chance.choices("abcdefghijklmnopqrstuvwxyzABCDEF0123456789", k=letters)),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize(("batch", "most"), [(500, 110), (100, 115)])
async def test_a_recipient_with_forty_bytes_of_variables(store: Store, batch: int, most: int) -> None:
    await loaded(store, people(600, 40), 20.0)  # the person index has its buckets then
    before = await held_bytes(store)
    await loaded(store, people(SOME, 40)[600:] + people(600, 39), batch / 30 + 0.01)
    assert (await held_bytes(store) - before) / SOME <= most


async def test_a_recipient_takes_no_more_when_all_is_over(store: Store) -> None:
    await warm(store)
    broadcast = await loaded(store, people(SOME, 10))
    before = await held_bytes(store)
    await completed(store, broadcast, 0.1)
    assert (await held_bytes(store) - before) / SOME <= 4


@pytest.mark.parametrize(("together", "most"), [(1, 400), (20, 160)])
async def test_a_single_message(store: Store, together: int, most: int) -> None:
    await single_messages(store, 60, together, kept=False, first=10_000)
    before = await held_bytes(store)
    await single_messages(store, 120, together, kept=False)
    assert (await held_bytes(store) - before) / 120 <= most


async def test_a_single_message_with_an_idempotency_key(store: Store) -> None:
    """600 are allowed, of which the tables that its three keys and an expiry stand in take 90."""
    await single_messages(store, 60, 1, kept=True, first=10_000)
    before = await held_bytes(store)
    await single_messages(store, 120, 1, kept=True)
    assert (await held_bytes(store) - before) / 120 <= 700
    await an_hour_later(store)
    assert (await held_bytes(store) - before) / 120 <= 470
