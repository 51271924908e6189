"""Which key a request shows, and whether it may come in now.

Keys are held in this process and checked against Redis with every request: a revoked one is refused at once.
All requests that come in during one round trip share the next; under load that costs next to nothing.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from broadcaster.api.problems import Problem, retry_after
from broadcaster.domain.api_keys import ApiKey, digest, split_key
from broadcaster.operations.actor import Actor
from broadcaster.operations.keys import read_keys
from broadcaster.store.scripts import Call, packed

if TYPE_CHECKING:
    from broadcaster.domain.api_keys import Scope
    from broadcaster.store.connection import Store

_NOBODY: Final = ApiKey(id="", name="", scopes=(), digest=digest(""), created=0)
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="broadcaster"'}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a request is from. `left` and `reset_seconds` are what its key has left of its pace."""

    key: ApiKey
    address: str
    left: int
    reset_seconds: float

    @property
    def actor(self) -> Actor:
        """What the audit says of it."""
        return Actor(f"key:{self.key.id} {self.key.name}", self.address)

    def need(self, scope: Scope) -> None:
        """Raise `Problem` unless its key has `scope`."""
        if not self.key.allows(scope):
            lacking = f"This needs the scope {scope.value}, which the key {self.key.name!r} has not."
            raise Problem("forbidden", lacking)

    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Return the `RateLimit` headers (draft-ietf-httpapi-ratelimit-headers)."""
        rate = self.key.rate
        policy = f'"key";q={max(1, int(rate))};w={1 if rate >= 1 else round(1 / rate)}'
        limit = f'"key";r={self.left};t={max(0, round(self.reset_seconds))}'
        return ((b"ratelimit-policy", policy.encode()), (b"ratelimit", limit.encode()))


@dataclass(slots=True)
class _Round:
    """Requests that share a round trip: how many show which secret of each key, and who waits for it."""

    wanted: dict[str, dict[str, int]] = field(default_factory=dict, repr=False)
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    answers: dict[str, list[int]] = field(default_factory=dict)


class Admission:
    """Lets requests in. Use `admit` for each."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys: dict[str, ApiKey] = {}
        self._epoch = "none yet"
        self._next: _Round | None = None
        self._running: asyncio.Task[None] | None = None

    async def admit(self, shown: str, address: str) -> Caller:
        """Return who shows the key `shown`. Raises `Problem` 401 or 429, or a store error."""
        parts = split_key(shown)
        if parts is None:
            raise unauthorized("No key was shown." if not shown else "This is no key of ours.")
        name, secret = parts
        round_ = self._join(name, secret)
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        round_.waiting.append(answered)
        await answered
        key = self._keys.get(name, _NOBODY)
        opened = key.opened_by(secret)  # asked of nobody's key too: whether an id exists takes no less time
        if key is _NOBODY or not opened:
            raise unauthorized("This key opens nothing.")
        if dead := key.dead_since(time.time()):
            raise unauthorized(f"This key is {dead}.")
        return self._let_in(key, address, round_)

    def _let_in(self, key: ApiKey, address: str, round_: _Round) -> Caller:
        answer = round_.answers.get(key.id)
        if answer is None:  # the key was made between the round's question and its answer
            return Caller(key, address, 0, 1.0)
        allowed, left, wait_us = answer
        if allowed <= 0:
            caller = Caller(key, address, 0, wait_us / 1e6)
            limits = {name.decode(): value.decode() for name, value in caller.headers()}
            raise Problem(
                "rate-limited",
                f"The key {key.name!r} may make {key.rate:g} requests a second.",
                headers={**retry_after(wait_us / 1e6), **limits},
            )
        answer[0] -= 1
        return Caller(key, address, left + answer[0], max(0.0, 1 - (left + answer[0]) / key.rate))

    def _join(self, name: str, secret: str) -> _Round:
        if self._next is None:
            self._next = _Round()
        round_ = self._next
        shown = round_.wanted.setdefault(name, {})
        shown[secret] = shown.get(secret, 0) + 1
        if self._running is None:
            self._running = asyncio.ensure_future(self._serve())
        return round_

    async def _serve(self) -> None:
        """Ask for one round after the other while there are any."""
        await asyncio.sleep(0)  # whatever else has come in by now comes along
        try:
            while self._next is not None:
                round_, self._next = self._next, None
                try:
                    await self._ask(round_)
                except Exception as error:  # noqa: BLE001 - whoever waits gets it
                    for one in _left(round_):
                        one.set_exception(error)
                else:
                    for one in _left(round_):
                        one.set_result(None)
        finally:
            self._running = None

    async def _ask(self, round_: _Round) -> None:
        for _ in range(3):
            known = [name for name in round_.wanted if name in self._keys]
            epoch, answers = await self._store.run(
                admit(
                    [(name, self._good(name, round_.wanted[name]), self._keys[name].rate) for name in known]
                )
            )
            fresh = dict(zip(known, answers, strict=True))
            round_.answers = {**round_.answers, **fresh}
            if epoch == self._epoch:
                return
            # the keys first, then a look whether they were still the same: never an old key under a new epoch
            self._keys, self._epoch = await read_keys(self._store), epoch

    def _good(self, name: str, shown: dict[str, int]) -> int:
        """Return how many show the key's own secret: whoever knows only its id spends nothing of its pace."""
        return sum(count for secret, count in shown.items() if self._keys[name].opened_by(secret))


def _left(round_: _Round) -> list[asyncio.Future[None]]:
    """Return who waits still."""
    return [one for one in round_.waiting if not one.done()]


def admit(wanted: list[tuple[str, int, float]]) -> Call[tuple[str, list[list[int]]]]:
    """Ask for (key id, requests, requests a second) each.

    Answers the keys' epoch, and for each key [requests allowed, requests left after them, µs until one more].
    """
    entries = [[name, count, repr(float(rate))] for name, count, rate in wanted]
    return Call("admit", (packed(entries),), lambda r: (r[0].decode(), [[int(n) for n in a] for a in r[1]]))


def unauthorized(detail: str) -> Problem:
    """Return what to say to whoever shows no good key."""
    return Problem("unauthorized", f"{detail} Send `Authorization: Bearer bc_live_…`.", headers=_CHALLENGE)
