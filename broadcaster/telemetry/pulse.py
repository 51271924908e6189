"""Is this process alive: its loops say when they last moved; health checks and systemd's watchdog go by that.

A loop beats wherever it comes round, also when it comes round in vain (Redis is gone): so a process without
Redis is alive, and one whose event loop or whose dispatcher hangs is not.
"""

from __future__ import annotations

import os
import socket
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: A loop that waits for a stalled Redis comes round in half of this, at the latest.
STALE_SECONDS: Final = 60.0


class SystemdSocket:
    """The socket on which systemd hears of a service (sd_notify(3)); silent where there is none."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        variables = os.environ if environment is None else environment
        path = variables.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        ours = variables.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        micros = variables.get("WATCHDOG_USEC", "")
        #: How often the watchdog wants to hear; None: it doesn't.
        self.every_seconds = int(micros) / 4e6 if ours and micros.isdigit() and self._address else None

    def ready(self) -> None:
        """Say that the service is up."""
        self._send("READY=1")

    def stopping(self) -> None:
        """Say that it finishes what is under way."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Give the line that `systemctl status` shows."""
        self._send("STATUS=" + text.replace("\n", " "))

    def alive(self) -> None:
        """Keep the watchdog from ending this process."""
        self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.setblocking(False)
                out.sendto(text.encode(), self._address)
        except OSError:  # systemd hears nothing, and acts on that; the work goes on
            return


class Pulse:
    """When each loop of a process last moved. Written by the event loop, read by the thread of /healthz."""

    def __init__(
        self,
        role: str,
        *,
        stale_seconds: float = STALE_SECONDS,
        systemd: SystemdSocket | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.role = role
        self.systemd = systemd or SystemdSocket()
        self._stale_seconds = stale_seconds
        self._clock = clock
        self._moved: dict[str, float] = {}
        self._tell_at = 0.0

    def beat(self, part: str) -> None:
        """Note that a loop came round; a fifth of a microsecond, but for the watchdog's ping now and then."""
        now = self._moved[part] = self._clock()
        if now >= self._tell_at:
            self._tell(now)

    def ended(self, part: str) -> None:
        """Expect no more of a loop, which has ended in order."""
        self._moved.pop(part, None)

    def hanging(self) -> str:
        """Return what hangs and for how long, as a sentence; "" while all is well."""
        now = self._clock()
        late = [(now - at, part) for part, at in list(self._moved.items()) if now - at > self._stale_seconds]
        return f"the {max(late)[1]} has not moved for {max(late)[0]:.0f} s" if late else ""

    def _tell(self, now: float) -> None:
        every = self.systemd.every_seconds
        self._tell_at = float("inf") if every is None else now + every
        if every is not None and not self.hanging():
            self.systemd.alive()
