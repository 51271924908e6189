"""What one call of a survey is about: shares of what there is, and what the answers say. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from broadcaster.reporting.installation import calls
from broadcaster.reporting.installation.standing import OPEN, Standing, read_standing
from broadcaster.reporting.installation.survey import Account
from broadcaster.reporting.waits import Everything

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from broadcaster.reporting.installation.calls import Overview

SHOWN_MOST: Final = 20


def read_standings(shares: Sequence[Sequence[str]], rows: Sequence[list[list[str]]]) -> dict[str, Standing]:
    """Return what standings.lua said of those that there are."""
    found: dict[str, Standing] = {}
    for share, fields_of in zip(shares, rows, strict=True):
        for broadcast, fields in zip(share, fields_of, strict=True):
            standing = read_standing(broadcast, fields)
            if standing is not None:
                found[broadcast] = standing
    return found


def paced(one: Standing, known: Mapping[str, Standing]) -> Standing:
    """Return it with the pace it keeps: SMS in place of a broadcast's messages share that one's."""
    return replace(one, tat=known[one.parent].tat) if one.parent in known else one


def account_of(found: Overview, missing: str) -> Account:
    """Return what concerns all lanes."""
    told = found.account
    live = [worker for worker in found.workers if worker.ends >= found.now]
    limit, peak = float(told.limit or 0), sum(int(worker.peak or 0) for worker in live)
    everything = Everything(
        paused=told.paused,
        rewind=int(told.rewind or 0),
        silent=told.silent,
        rate=float(told.rate or 0),
        workers=len(live),
        missing=missing,
        full=0 < limit <= peak,
    )
    return Account(everything, tat=float(told.tat or 0), resumed=float(told.resumed or 0) * 1e6)


def shown_of(standings: Iterable[Standing]) -> tuple[Standing, ...]:
    """Return at most `SHOWN_MOST` broadcasts: the newest that run, then the newest that are paused."""
    some = [one for one in standings if one.state in OPEN and not one.stream]
    return tuple(sorted(some, key=_shown_first, reverse=True)[:SHOWN_MOST])


def _shown_first(one: Standing) -> tuple[bool, int, str]:
    return one.state == "running", one.created, one.id


def shares(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """Share `items` out, so many in each share."""
    return [items[at : at + size] for at in range(0, len(items), size)]


def flow_shares(flows: Iterable[tuple[str, Sequence[str]]]) -> list[list[tuple[str, Sequence[str]]]]:
    """Share flows out: broadcasts with lanes, in each share at most `FLOWS_AT_ONCE` lanes."""
    made: list[list[tuple[str, Sequence[str]]]] = []
    room = 0
    for broadcast, lanes in flows:
        rest = lanes
        while rest:
            if room == 0:
                made.append([])
                room = calls.FLOWS_AT_ONCE
            made[-1].append((broadcast, rest[:room]))
            taken = min(room, len(rest))
            rest, room = rest[taken:], room - taken
    return made
