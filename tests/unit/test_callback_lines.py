"""Callbacks have one line in some seconds, which says how many each broadcast had."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from broadcaster.api.webhooks.lines import CallbackLog
from broadcaster.ledger.callbacks import Status
from broadcaster.ledger.recording import Recorded
from broadcaster.telemetry.bounded import SUMS_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Iterator

ONE = Recorded(changed=1, twice=[], paused=[], completed=[])


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.INFO)
    structlog.reset_defaults()  # a command that ran before may have set what is logged at all
    with structlog.testing.capture_logs() as caught:
        yield caught
    root.setLevel(level)


def status(broadcast: str) -> Status:
    return Status(broadcast, "+1.0", 0, 1, "SM" + "0" * 32, "delivered")


async def test_many_batches_have_one_line(lines: list[dict[str, Any]]) -> None:
    log = CallbackLog()
    for number in range(300):
        log.written([status("a"), status("b" if number < 100 else "a")], ONE, number / 1000)
    assert lines == []
    log.write_all()
    log.write_all()
    assert lines == [
        {
            "event": "callbacks.done", "log_level": "info", "batches": 300, "statuses": 600, "recorded": 300,
            "unchanged": 300, "dropped": 0, "broadcasts": {"a": 500, "b": 100}, "longest_seconds": 0.299,
        }
    ]  # fmt: skip


async def test_the_broadcasts_of_a_line_are_bounded(lines: list[dict[str, Any]]) -> None:
    log = CallbackLog()
    log.written([status(f"b{number}") for number in range(2000)], ONE, 0.0)
    log.write_all()
    (line,) = lines
    assert len(line["broadcasts"]) == SUMS_AT_ONCE
    assert line["of_other_broadcasts"] == 2000 - SUMS_AT_ONCE


async def test_a_line_comes_by_itself(lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    due: list[Any] = []
    log = CallbackLog()
    loop = asyncio.get_running_loop()

    def later(_seconds: float, call: Any) -> asyncio.Handle:
        due.append(call)
        return asyncio.Handle(call, (), loop)

    monkeypatch.setattr(loop, "call_later", later)
    log.written([status("a")], ONE, 0.0)
    log.written([status("a")], ONE, 0.0)
    (write,) = due
    write()
    assert [line["statuses"] for line in lines] == [2]
