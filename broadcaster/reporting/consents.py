"""On what consent each message rests: the broadcast's own, or the recipient's in a column of the list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from broadcaster.domain.purpose import Consent

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from broadcaster.store.connection import Store


class Terms(msgspec.Struct, frozen=True):
    """What a broadcast's spec says of its recipients' consent."""

    consent: Consent | None = None
    consent_column: str | None = None

    def of(self, variables: Mapping[str, str]) -> str | None:
        """Return the consent of who has these variables."""
        own = variables.get(self.consent_column) if self.consent_column else None
        return own or (None if self.consent is None else str(self.consent))


async def terms_of(store: Store, broadcasts: Collection[str]) -> dict[str, Terms]:
    """Return what broadcasts say of it. Raises redis' errors."""
    async with store.redis.pipeline(transaction=False) as pipe:
        for broadcast in broadcasts:
            pipe.hget(store.keys.broadcast(broadcast), "spec")
        specs = await pipe.execute()
    read = msgspec.msgpack.decode
    return {b: read(raw, type=Terms) if raw else Terms() for b, raw in zip(broadcasts, specs, strict=True)}
