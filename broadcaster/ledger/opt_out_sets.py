"""The sets that a process keeps of opt-outs, and what a line of their log changes in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyroaring import BitMap64

from broadcaster.domain.addresses import Channel, channel_of, digits_of
from broadcaster.ledger.people_key import HASHED, digest_in

if TYPE_CHECKING:
    from collections.abc import Iterable


class Known:
    """What is known under one epoch.

    `sets` holds digits by (scope, channel), `hashes` what is left of forgotten people by scope, `pools` the
    service of each sender that is in one. `moved`: scopes or pools have come or gone since it was False.
    """

    __slots__ = ("hashes", "members", "moved", "pools", "sets")

    def __init__(self) -> None:
        self.sets: dict[tuple[str, str], BitMap64] = {}
        self.hashes: dict[str, set[bytes]] = {}
        self.pools: dict[str, str] = {}
        self.members: dict[str, set[str]] = {}
        self.moved = True

    def add(self, scope: str, address: str) -> None:
        """Add an opt-out; `address` may be hashed."""
        if address[0] == HASHED:
            self.moved = self.moved or scope not in self.hashes
            self.hashes.setdefault(scope, set()).add(digest_in(address))
            return
        key = (scope, channel_of(address))
        known = self.sets.get(key)
        if known is None:
            known = self.sets[key] = BitMap64()
            self.moved = True
        known.add(digits_of(address))

    def add_all(self, entries: Iterable[bytes]) -> None:
        """Add opt-outs as Redis has them, `SCOPE|ADDRESS`: a million at a third of the time."""
        plain: dict[bytes, list[bytes]] = {}
        for entry in entries:
            scope, _, address = entry.rpartition(b"|")
            if address[:1] == b"+":
                plain.setdefault(scope, []).append(address)
            else:
                self.add(scope.decode(), address.decode())
        for scope, addresses in plain.items():
            self.add(scope.decode(), addresses[0].decode())
            self.sets[scope.decode(), Channel.SMS].update(map(int, addresses))

    def remove(self, scope: str, address: str) -> None:
        """Take out what `add` put in. What is empty then costs nobody a look."""
        if address[0] == HASHED:
            some = self.hashes.get(scope)
            if some is not None:
                some.discard(digest_in(address))
                if not some:
                    del self.hashes[scope]
                    self.moved = True
            return
        key = (scope, channel_of(address))
        known = self.sets.get(key)
        if known is not None:
            known.discard(digits_of(address))
            if not known:
                del self.sets[key]
                self.moved = True

    def move(self, sender: str, service: str) -> None:
        """Note the service whose pool a sender is in; "" for none."""
        before = self.pools.pop(sender, "")
        self.members.get(before, set()).discard(sender)
        self.moved = True
        if service:
            self.pools[sender] = service
            self.members.setdefault(service, set()).add(sender)


def replay(known: Known, line: str) -> None:
    """Do what a line of the log says: `EPOCH|+SCOPE|ADDRESS`, `-…`, or `EPOCH|=SENDER|SERVICE`."""
    _, change, about = line.split("|", 2)
    if change[0] == "+":
        known.add(change[1:], about)
    elif change[0] == "-":
        known.remove(change[1:], about)
    elif change[0] == "=":
        known.move(change[1:], about)
