"""The scripts that an exporter runs, and what they answer. They write nothing but its lease.

Each call does a bounded share of the work, so that none holds up Redis for more than a few milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from broadcaster.store.scripts import Call, packed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ACTIVE_MOST: Final = 3000
WORKERS_MOST: Final = 200
NEWEST: Final = 50
#: In one call, which takes Redis less than a millisecond.
STANDINGS_AT_ONCE: Final = 20
LANES_AT_ONCE: Final = 25
FLOWS_AT_ONCE: Final = 25
DOUBT_BATCHES: Final = 20


class AccountFields(msgspec.Struct, frozen=True, array_like=True):
    """The account as texts, '' for what is not set."""

    paused: str
    rate: str
    tat: str
    limit: str
    silent: str
    rewind: str
    resumed: str
    duplicates: str


class Sizes(msgspec.Struct, frozen=True, array_like=True):
    """How many there are of what."""

    broadcasts: int
    streams: int
    lanes: int
    opt_outs: int
    parked: int
    failures: int
    jobs: int
    deliveries_queued: int
    deliveries_parked: int


class WorkerLease(msgspec.Struct, frozen=True, array_like=True):
    """A worker with a lease, which `ends` (µs); `seen` (s), `peak` and `draining` as texts."""

    name: str
    ends: float
    seen: str
    peak: str
    draining: str


class Overview(msgspec.Struct, frozen=True, array_like=True):
    """An installation at `now` (µs). `active` run or are paused; `lost` are workers, and when seen.

    `scheduled` is the second at which the next scheduled broadcast starts or should have; 0: none is.
    """

    now: float
    account: AccountFields
    sizes: Sizes
    active: list[str]
    doubtful: list[str]
    importing: list[str]
    newest: list[str]
    workers: list[WorkerLease]
    lost: list[tuple[str, str]]
    scheduled: float


class Lane(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A lane; `tat`, `hold`, `due` (its place among those due) are µs, 0: none. `rate`: segments a second."""

    name: str
    rate: float
    tat: float
    paused: str
    hold: float
    pool: str
    due: float


class Flow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One broadcast's flow on one lane; `first_retry` is µs, 0: none."""

    batches: int
    head: int
    recipients: int
    segments: int
    retries: int
    back: int
    retries_due: int
    first_retry: float


def hold_lease(name: str, lease_ms: int) -> Call[bool]:
    """Be the one exporter, or go on being it; whether it is. 0 ms gives the lease back."""
    return Call("exporter", (name, lease_ms), bool)


def overview() -> Call[Overview]:
    """Ask what the installation is about."""
    return Call("overview", (ACTIVE_MOST, WORKERS_MOST, NEWEST), _decoder(Overview))


def standings(ids: Sequence[str]) -> Call[list[list[str]]]:
    """Ask for the counters of so many broadcasts; at most `STANDINGS_AT_ONCE`."""
    return Call("standings", (packed(list(ids)),), _decoder(list[list[str]]))


def survey_lanes(cursor: str) -> Call[tuple[str, list[Lane]]]:
    """Ask for some of all lanes; the cursor goes on where it ended, '0' at the end."""
    return Call("survey_lanes", (cursor, LANES_AT_ONCE), _decoder(tuple[str, list[Lane]]))


def survey_flows(flows: Sequence[tuple[str, Sequence[str]]]) -> Call[list[list[Flow]]]:
    """Ask how far flows have come: broadcasts with lanes, of these at most `FLOWS_AT_ONCE` in all."""
    return Call(
        "survey_flows", (packed([[b, list(lanes)] for b, lanes in flows]),), _decoder(list[list[Flow]])
    )


def doubt_since(ids: Sequence[str]) -> Call[int]:
    """Ask since when (unix second) the oldest message in doubt of these broadcasts is; 0: none is."""
    return Call("doubt_since", (packed(list(ids)), DOUBT_BATCHES), lambda reply: int(reply[0]))


def _decoder(kind: Any) -> Callable[[bytes], Any]:
    if kind not in _DECODERS:
        _DECODERS[kind] = msgspec.msgpack.Decoder(kind).decode
    return _DECODERS[kind]


_DECODERS: dict[Any, Callable[[bytes], Any]] = {}
