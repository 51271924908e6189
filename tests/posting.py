"""A process that posts single messages, each with a nonce, and says what it was told; made to be killed."""

from __future__ import annotations

import asyncio
import json
import sys

from loading import number

from broadcaster.domain.content import Content
from broadcaster.intake.singles import Accepted, Person, SingleMessages, SingleRequest
from broadcaster.settings import Settings, load_settings
from broadcaster.store.connection import open_store

SENDER = "+14155550100"


async def no_pool(_: str) -> list[str]:
    """Read the pool of a service that nobody has."""
    return []


def settings() -> Settings:
    """Return settings with one sender."""
    return load_settings(None, twilio_phone_number=SENDER)


def request(i: int) -> SingleRequest:
    """Return the i-th request: two people, and the first of them once more."""
    to = [Person(number(2 * i)), Person(number(2 * i + 1), reference=f"r{i}"), Person(number(2 * i))]
    return SingleRequest("k", Content(body=f"Code {i}"), to, nonce=f"request {i}", expires_in_seconds=3600)


def told(i: int, accepted: list[Accepted]) -> str:
    """Return the line that is written of an answer."""
    return json.dumps([i, [one.id for one in accepted]])


async def main(url: str, prefix: str, count: int) -> None:
    """Post so many requests, five at a time."""
    store = await open_store(url, prefix)
    singles = SingleMessages(store, settings(), no_pool)
    turns = iter(range(count))

    async def post() -> None:
        for i in turns:
            accepted = await singles.post(request(i))
            sys.stdout.write(told(i, accepted) + "\n")
            sys.stdout.flush()

    await asyncio.gather(*(post() for _ in range(5)))
    await singles.close()
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
