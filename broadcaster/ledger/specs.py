"""A broadcast's spec as Redis has it, for whoever must go on without one that can't be read."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import structlog

from broadcaster.domain import data_format

if TYPE_CHECKING:
    from broadcaster.domain.broadcast import BroadcastSpec

log = structlog.get_logger("specs")


def read_spec(broadcast: str, raw: bytes | None) -> BroadcastSpec | None:
    """Return what `raw` says; None where there is none, or it can't be read: another version wrote it.

    The latter is logged, once. What depends on it is left out, then, so that it holds up no other broadcast.
    """
    if raw is None:
        return None
    try:
        return data_format.read_spec(raw)
    except data_format.NewerSpecError as error:
        _say(broadcast, str(error))
        return None


@lru_cache(maxsize=1000)
def _say(broadcast: str, unknown: str) -> None:
    log.error("spec.unreadable", broadcast=broadcast, unknown=unknown)
