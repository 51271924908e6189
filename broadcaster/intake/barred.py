"""Who of a list gets nothing, though the number is good: opted out, there before, unverified, not in reach.

Some become rows that are skipped, each with its `Reason`; whose 24-hour window is closed gets something else,
or is a fault.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broadcaster.domain.addresses import Channel
from broadcaster.domain.record import Reason
from broadcaster.intake.addressing import by_lane, unverified

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from broadcaster.intake.addressing import OptOuts, Problems, Seen, Windows

DUPLICATE: Final = int(Reason.DUPLICATE)
OPTED_OUT: Final = int(Reason.OPTED_OUT)
UNVERIFIED: Final = int(Reason.UNVERIFIED)


class Barred:
    """What `Preparation` was told of people, asked by the chunk. `lanes` are indexes of `names`, -1 for none.

    `about`: the Messaging Service and the purpose by which opt-outs are looked for; `seen` learns the
    addresses.
    """

    def __init__(
        self,
        names: Sequence[str],
        seen: Seen,
        *,
        opt_outs: OptOuts | None,
        about: tuple[str | None, str],
        windows: Windows | None,
        verified: Collection[str] | None,
    ) -> None:
        self._names = names
        self._seen = seen
        self._opt_outs = opt_outs
        self._about = about
        self._windows = windows
        self._verified = verified

    def opted_out(self, addresses: Sequence[str], lanes: Sequence[int]) -> Iterator[int]:
        """Yield the rows of who opted out of what their lanes send."""
        if self._opt_outs is None:
            return
        for lane, rows in by_lane(lanes, range(len(addresses))).items():
            scopes = self._opt_outs.scopes(self._names[lane], *self._about) if lane >= 0 else ()
            if scopes:
                of_lane = [addresses[row] for row in rows] if len(rows) < len(addresses) else addresses
                yield from (rows[place] for place in self._opt_outs.blocked(of_lane, scopes))

    def closed(
        self, addresses: Sequence[str], lanes: Sequence[int], channel: Channel | None, spared: set[int]
    ) -> dict[int, str]:
        """Return why free text may not go to rows, by row; those that are `spared` are not looked at."""
        found: dict[int, str] = {}
        if self._windows is None or channel is Channel.SMS:
            return found
        for lane, rows in by_lane(lanes, [row for row in range(len(lanes)) if row not in spared]).items():
            told = self._windows.closed(self._names[lane], [addresses[row] for row in rows])
            found.update((rows[place], why) for place, why in told.items())
        return found

    def codes(
        self, addresses: Sequence[str], opted_out: Sequence[int], channel: Channel | None, problems: Problems
    ) -> list[int]:
        """Return a `Reason` per row: why a good one is skipped, else 0."""
        codes = [0] * len(addresses)
        if channel is None or problems or not self._seen.take_new(addresses, channel):
            for index, address in enumerate(addresses):
                if index not in problems and not self._seen.take(address):
                    codes[index] = DUPLICATE
        found = [(OPTED_OUT, opted_out)]
        if self._verified is not None:
            found.append((UNVERIFIED, list(unverified(addresses, self._verified))))
        for code, rows in found:
            for index in rows:
                if not codes[index] and index not in problems:
                    codes[index] = code
        return codes
