"""Whether the replicas are there that must confirm what is written before anything leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.store.connection import Store

#: A replica reports every second; one that is silent for longer confirms nothing.
_SILENT_SECONDS: Final = 3


async def missing_replicas(store: Store) -> str:
    """Say what is missing; "" where no replica is asked, or enough are there. Raises redis' errors."""
    if not store.replicas:
        return ""
    return missing_in(await store.redis.info("replication"), store.replicas)


def missing_in(info: Mapping[str, object], replicas: int) -> str:
    """Say of an INFO what is missing of so many `replicas`."""
    there = sum(
        1
        for name, replica in info.items()
        if name.startswith("slave") and isinstance(replica, dict) and _confirms(replica)
    )
    if there >= replicas:
        return ""
    return f"{there} of {replicas} replicas confirm what is written: nothing leaves until they do"


def _confirms(replica: dict[str, object]) -> bool:
    return (
        replica.get("state") == "online" and int(str(replica.get("lag", _SILENT_SECONDS))) < _SILENT_SECONDS
    )
