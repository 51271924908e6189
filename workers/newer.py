"""A broadcast that only a newer version can send: it is paused, for a reason that everybody sees."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from broadcaster import __version__
from broadcaster.domain.data_format import KNOWN
from broadcaster.lanes.control import pause

if TYPE_CHECKING:
    from broadcaster.store.connection import Store


async def wait_for_newer(store: Store, broadcast: str, what: str) -> None:
    """Pause what this version would send wrongly, as it does not know `what`."""
    reason = (
        f"needs a newer version: the worker on {socket.gethostname()} ({__version__}, data format "
        f"{KNOWN}) does not know {what}; upgrade the workers, then resume it"
    )
    await store.run(pause(broadcast, reason))
