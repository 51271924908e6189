"""How every peer is measured: from the first tenth of the messages, which warm it up, to the last."""

from __future__ import annotations

import asyncio
import json
import os
import time

#: What a peer sends: as much of a message as the others send.
ACCOUNT = "AC" + "0" * 32
FORM = {"From": "+15550001111", "Body": "hello there, this is an alert"}
URL = f"{os.environ.get('SINK', '')}/2010-04-01/Accounts/{ACCOUNT}/Messages.json"


class Measure:
    """Counts what was sent; once all is, `told` prints the figures as the bench reads them."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.done = 0
        self.all_done = asyncio.Event()
        self.warm_up = count // 10
        self._wall = self._cpu = 0.0

    def one_more(self) -> None:
        """Count a message that was answered."""
        self.done += 1
        if self.done == self.warm_up:
            self._wall, self._cpu = time.perf_counter(), time.process_time()
        elif self.done == self.count:
            tell(
                self.count - self.warm_up,
                time.perf_counter() - self._wall,
                time.process_time() - self._cpu,
            )
            self.all_done.set()


def tell(messages: int, seconds: float, cpu_seconds: float) -> None:
    """Print so many messages' wall and CPU time."""
    print(json.dumps({"messages": messages, "seconds": seconds, "cpu_seconds": cpu_seconds}), flush=True)


def number(index: int) -> str:
    """Return a recipient."""
    return f"+1415{index:07d}"
