"""What a worker asks of the lanes: a lease, slices of work, the gate's yes, and to give back."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from broadcaster import __version__
from broadcaster.domain.concurrency import Second
from broadcaster.domain.data_format import KNOWN
from broadcaster.store.scripts import Call, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Of an index and the first eight bytes of its record: index, state and attempts spent, segments, attempt.
_HEAD: Final = struct.Struct(">HBxBH3x")
MICRO: Final = 1_000_000


class Item(NamedTuple):
    """A record in a slice: where it is in its batch, what it costs, and the attempt it stands at."""

    row: int
    segments: int
    attempt: int
    spent: int


class Slice(NamedTuple):
    """Work of one lane that this worker may do: records of one batch with permits to send them.

    The first may leave `delay_seconds` after the answer was made; each segment sent puts the next
    `interval_seconds` later.
    """

    claim: str
    lane: str
    broadcast: str
    batch: str
    delay_seconds: float
    interval_seconds: float
    items: list[Item]


class Claimed(NamedTuple):
    """The answer to a claim. `next_seconds` is when a lane is due again (None: none has work).

    That and the slices' delays count from `at`, in Redis' unix seconds.
    """

    next_seconds: float | None
    slices: list[Slice]
    stopped: str
    at: float


class Verdict(NamedTuple):
    """The gate's answer for one group: `refused` names why none may go, else `yes` is '1' or '0' a record.

    `waits_ms`: of a group that is `timed`, how long ago those that may go for the first time were accepted.
    """

    refused: str
    yes: str
    waits_ms: Sequence[int] = ()


class Turn(NamedTuple):
    """A worker's turn to say what follows from what all saw; `remembered` is JSON, '' at first."""

    name: str
    remembered: str
    second: Second


class Answer(NamedTuple):
    """What follows: what to remember (JSON), the limit, since when Twilio is silent (0: not)."""

    turn: str
    remembered: str
    limit: float
    silent: float


class Standing(NamedTuple):
    """A worker's standing after a renewal: its share of the account's concurrency, and what else changed.

    `silent` is since when Twilio does not answer, in unix seconds, 0 while it does; `probe`: this worker may
    send one message all the same. `draining`: it is asked to finish what is in flight, and to end. `on_duty`:
    it is one of those that run the installation's jobs. `due_seconds`: until
    some lane has work that may go, None if none has.
    """

    share: int
    limit: float
    workers: int
    optout_epoch: str
    stopped: str
    silent: float = 0.0
    probe: bool = False
    draining: bool = False
    on_duty: bool = False
    due_seconds: float | None = None
    turn: Turn | None = None


class Group(NamedTuple):
    """Records of one claim that ask to go now, as the gate wants them: index and attempt, flat.

    `timed`: it shall say how long they have waited.
    """

    claim: str
    lane: str
    broadcast: str
    batch: str
    wanted: list[int]
    timed: int = 0


def claim(
    worker: str,
    nonce: str,
    *,
    lanes: int,
    records: int,
    horizon_seconds: float,
    a_second: float = 0.0,
    at_once: int = 0,
    probing: bool = False,
    known: int = 0,
) -> Call[Claimed]:
    """Ask for slices. The same nonce gets the same answer again; `LeaseLost` if the lease is gone.

    Who sends `a_second` messages gets `at_once` at most of a faster lane (0: all there are): the permits of
    what it can't send in time would be lost.
    `known` is what the asker knows of Redis (`Guard.known`): one that knows of less gives nothing.
    A probe rather takes what was never tried, so that a long silence does not spend all attempts of a few.
    """
    bounds = (lanes, records, int(horizon_seconds * MICRO))
    arguments = (worker, nonce, *bounds, int(probing), known, a_second, at_once)
    return Call("claim", arguments, _claimed)


def _claimed(reply: list[Any]) -> Claimed:
    next_us, slices, stopped, now = reply
    return Claimed(
        None if next_us < 0 else next_us / MICRO,
        [
            Slice(
                _str(c),
                _str(lane),
                _str(bid),
                _str(batch),
                delay / MICRO,
                float(interval) / MICRO,
                [Item(i, seg, attempt, s >> 4) for i, s, seg, attempt in _HEAD.iter_unpack(heads)],
            )
            for c, lane, bid, batch, delay, interval, heads in slices
        ],
        _str(stopped),
        now / MICRO,
    )


def _str(value: Any) -> str:
    return value if isinstance(value, str) else bytes(value).decode()


def intend(worker: str, optout_epoch: str, groups: list[Group]) -> Call[list[Verdict]]:
    """Ask the gate. A yes means that the record says `sending` and the POST may leave."""
    return Call("intent", (worker, optout_epoch, packed(groups)), _verdicts, lasting=True)


def _verdicts(reply: bytes) -> list[Verdict]:
    return [Verdict(_str(refused), _str(yes), tuple(waits)) for refused, yes, waits in unpacked(reply)]


def release(worker: str, claims: list[str], unsent: dict[str, list[int]] | None = None) -> Call[int]:
    """End claims; what was never `sending` goes back to its flow.

    So do the rows of `unsent`, by claim: asked for twice and refused, they may be `sending` by a yes that was
    lost on its way, and have surely not left.
    """
    return Call("release", (worker, packed(claims), packed(unsent or {})), int)


def renew(
    worker: str,
    *,
    lease_seconds: float,
    initial: int,
    seen: Second | None = None,
    urgent: bool = False,
    could_probe: bool = False,
    answer: Answer | None = None,
) -> Call[Standing]:
    """Keep the lease and learn the share of the account's concurrency. Raises `LeaseLost`.

    `seen` is what this worker saw since it last told; `urgent` asks for a turn before the second is over;
    `answer` is for the turn that the last standing brought.
    """
    report = [] if seen is None else _report(seen)
    steering = ("", "", "", "") if answer is None else _steering(answer)
    asks = (int(urgent), int(could_probe))
    return Call(
        "renew",
        (worker, int(lease_seconds * MICRO), 0, initial, b"", packed(report), *asks, *steering),
        _standing,
    )


def join(
    worker: str, about: dict[str, Any], *, lease_seconds: float, initial: int, before: str = ""
) -> Call[Standing]:
    """Take a first lease under a new worker id; `before` is the one that this process had, if it had one."""
    nothing = (packed([]), 0, 0, "", "", "", "")
    version = (__version__, KNOWN, before)
    return Call(
        "renew",
        (worker, int(lease_seconds * MICRO), 1, initial, packed(about), *nothing, *version),
        _standing,
    )


def drain(workers: Sequence[str]) -> Call[list[str]]:
    """Ask workers to end in good order: 'asked', 'known', 'older' or 'gone' of each (drain.lua)."""
    return Call("drain", (packed(list(workers)),), lambda reply: [_str(said) for said in unpacked(reply)])


def _report(seen: Second) -> list[int]:
    busy_us = int(seen.busy * MICRO)
    counted = [seen.answered, seen.throttled, seen.pressed, seen.unknown, busy_us]
    return [*counted, seen.peak, seen.ceiling, int(seen.full)]


def _steering(answer: Answer) -> tuple[str, str, str, str]:
    silent = repr(answer.silent) if answer.silent else ""
    return answer.turn, answer.remembered, repr(answer.limit), silent


def _standing(reply: bytes) -> Standing:
    share, limit, workers, epoch, stopped, silent, probe, draining, on_duty, due, *turn = unpacked(reply)
    return Standing(
        int(share),
        float(limit),
        int(workers),
        _str(epoch),
        _str(stopped),
        float(_str(silent) or 0),
        bool(probe),
        bool(draining),
        bool(on_duty),
        None if due < 0 else due / MICRO,
        _turn(turn[0]) if turn and turn[0] else None,
    )


def _turn(fields: list[Any]) -> Turn:
    name, remembered, elapsed_us, answered, throttled, pressed, unknown, busy_us, peak, ceiling, full = fields
    second = Second(
        seconds=elapsed_us / MICRO,
        answered=int(answered),
        throttled=int(throttled),
        pressed=int(pressed),
        unknown=int(unknown),
        peak=int(peak),
        busy=busy_us / max(elapsed_us, 1),
        ceiling=int(ceiling),
        full=bool(full),
    )
    return Turn(_str(name), _str(remembered), second)


def leave(worker: str, claims_at_most: int = 200) -> Call[int]:
    """Give back the lease and what is held; answers how many claims are left to end."""
    return Call("leave", (worker, claims_at_most), int)


class Swept(NamedTuple):
    """A worker whose lease ran out: its claims that were taken back, those left, what is in doubt by that."""

    worker: str
    ended: int
    left: int
    doubts: int


def sweep(patience_seconds: float, claims_at_most: int = 200) -> Call[list[Swept]]:
    """Take back the claims of workers whose lease ran out."""
    return Call(
        "sweep",
        (int(patience_seconds * MICRO), claims_at_most),
        lambda reply: [Swept(_str(worker), *map(int, counts)) for worker, *counts in unpacked(reply)],
    )
