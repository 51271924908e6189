"""Which try meets which fault: by recipient, else by a draw.

Only the seed, the number and which try it is decide a draw, never the order of arrival.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from broadcaster.simulator.config import RecipientFault
from broadcaster.simulator.errors import status_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.simulator.config import SimulatorConfig


class Way(enum.Enum):
    """How the request ends."""

    ANSWER = enum.auto()  # an answer with `status` and `code`
    DROP = enum.auto()  # the connection is reset without an answer
    CLOSE = enum.auto()  # the connection is closed in order, without an answer
    HANG = enum.auto()  # no answer, ever; ends when the client goes
    SLOW = enum.auto()  # the right answer, its body a few bytes at a time
    CUT = enum.auto()  # the right answer's head and half of its body, then a reset
    GARBAGE = enum.auto()  # `status` with a body that is no JSON
    HTML = enum.auto()  # `status` with a proxy's page
    REDIRECT = enum.auto()  # 307 to the same path
    LATE = enum.auto()  # accepts after `accept_delay_seconds`, client or no client, then answers


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a try.

    `accepts`: the message exists afterwards. `sticky`: drawn per number, so that every try meets it.
    """

    name: str
    way: Way
    accepts: bool = False
    status: int = 0
    code: int = 0
    sticky: bool = False


def _named(*faults: Fault) -> Mapping[str, Fault]:
    return {fault.name: fault for fault in faults}


FAULTS: Final = _named(
    Fault("throttle", Way.ANSWER, status=429, code=20429),
    Fault("queue_full", Way.ANSWER, status=429, code=21611),
    Fault("unavailable", Way.ANSWER, status=503, code=20503),
    Fault("error", Way.ANSWER, status=500, code=20500),
    Fault("unavailable_after", Way.ANSWER, accepts=True, status=503, code=20503),
    Fault("error_after", Way.ANSWER, accepts=True, status=500, code=20500),
    Fault("timeout_408", Way.HTML, status=408),
    Fault("drop_before", Way.DROP),
    Fault("drop_after", Way.DROP, accepts=True),
    Fault("close_before", Way.CLOSE),
    Fault("close_after", Way.CLOSE, accepts=True),
    Fault("hang_before", Way.HANG),
    Fault("hang_after", Way.HANG, accepts=True),
    Fault("slow_body", Way.SLOW, accepts=True, status=201),
    Fault("cut_body", Way.CUT, accepts=True, status=201),
    Fault("garbage_200", Way.GARBAGE, accepts=True, status=200),
    Fault("garbage_201", Way.GARBAGE, accepts=True, status=201),
    Fault("html_403", Way.HTML, status=403),
    Fault("html_502", Way.HTML, status=502),
    Fault("redirect", Way.REDIRECT, status=307),
    Fault("late_accept", Way.LATE, accepts=True, status=201),
    Fault("suspended", Way.ANSWER, status=403, code=20005),
    Fault("unauthorized", Way.ANSWER, status=401, code=20003),
    Fault("invalid_number", Way.ANSWER, status=400, code=21211, sticky=True),
    Fault("opted_out", Way.ANSWER, status=400, code=21610, sticky=True),
    Fault("landline", Way.ANSWER, status=400, code=21614, sticky=True),
)


class UnknownFaultError(ValueError):
    """A fault was asked for that the simulator can't make."""


def fault_named(name: str) -> Fault:
    """Return the fault of that name; digits are a Twilio code to refuse with, for that number always."""
    if name in FAULTS:
        return FAULTS[name]
    if name.isdecimal():
        return Fault(name, Way.ANSWER, status=status_of(int(name)), code=int(name), sticky=True)
    raise UnknownFaultError(f"no fault is called {name!r}; there are {', '.join(FAULTS)}, or a Twilio code")


def draw(*parts: object) -> float:
    """Return a number in [0, 1) that only the parts decide."""
    digest = blake2b(repr(parts).encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / (1 << 48)


class Shares:
    """Names with probabilities, and which of them a drawn number means. Raises ValueError over 1 in sum."""

    def __init__(self, shares: Mapping[str, float]) -> None:
        self.names = list(shares)
        self._ends = list(accumulate(shares.values()))
        if any(share < 0 for share in shares.values()) or (self._ends and self._ends[-1] > 1 + 1e-9):
            raise ValueError(f"probabilities must be 0 or more and at most 1 in sum: {dict(shares)}")

    def at(self, number: float) -> str | None:
        """Return the name whose part of [0, 1) the number falls in, None beyond them all."""
        place = bisect_right(self._ends, number)
        return self.names[place] if place < len(self.names) else None


class FaultPlan:
    """The faults of one config. Raises UnknownFaultError or ValueError where the config makes no sense."""

    def __init__(self, config: SimulatorConfig) -> None:
        known = {name: fault_named(name) for name in config.faults}
        self._faults = dict(known)
        self._sticky = Shares({name: p for name, p in config.faults.items() if known[name].sticky})
        self._passing = Shares({name: p for name, p in config.faults.items() if not known[name].sticky})
        self._recipients = {to: _per_try(rule) for to, rule in config.recipients.items()}
        self._senders = {sender: fault_named(name) for sender, name in config.sender_faults.items()}
        self._seed = config.seed
        self.empty = not (config.faults or config.recipients or config.sender_faults)

    def decide(self, to: str, attempt: int, lane: str = "") -> Fault | None:
        """Return the fault that try number `attempt` (from 1) to this number, from this lane, meets."""
        rule = self._recipients.get(to)
        if rule is not None:
            faults, last = rule
            return faults[attempt - 1] if attempt <= len(faults) else last
        if lane in self._senders:
            return self._senders[lane]
        name = self._sticky.at(draw(self._seed, to)) if self._sticky.names else None
        if name is None and self._passing.names:
            name = self._passing.at(draw(self._seed, to, attempt))
        return None if name is None else self._faults[name]


def _per_try(rule: str | list[str] | RecipientFault) -> tuple[list[Fault | None], Fault | None]:
    """Return the faults of the first tries and the one of all later ones."""
    if isinstance(rule, str):
        return [], fault_named(rule)
    if isinstance(rule, RecipientFault):
        fault = fault_named(rule.fault)
        return ([fault] * rule.tries, None) if rule.tries else ([], fault)
    return [fault_named(name) if name else None for name in rule], None
