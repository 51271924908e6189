"""A log line is one line, whatever is in it, and nothing about writing it stops who logs."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from broadcaster.telemetry import last_words, writing
from broadcaster.telemetry.logs import configure, get_logger, masked_beside_output
from broadcaster.telemetry.writing import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "f00dfeedf00dfeedf00dfeedf00dfeed"
NUMBER = "14155550100"


class Broken:
    def __repr__(self) -> str:
        raise ValueError(TOKEN)

    __str__ = __repr__


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The process's log in JSON, line by line, with Python's last words in it."""
    for owner, name in ((sys, "excepthook"), (sys, "unraisablehook"), (logging, "raiseExceptions")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    root = logging.getLogger()
    before = root.handlers[:], root.level
    lines: list[str] = []

    class Stream:
        closed = False

        def write(self, text: str) -> None:
            assert text.endswith("\n")
            lines.append(text[:-1])

        def flush(self) -> None: ...

        def isatty(self) -> bool:
            return False

    configure("debug", "json", secrets=[TOKEN], stream=Stream())  # type: ignore[arg-type]
    last_words.take()
    yield lines
    logging.captureWarnings(False)
    root.handlers[:], level = before
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize(
    "value",
    [
        "a\nb\r\nc",
        "a\u2028b\u2029c\x85d\x0b\x0ce\x1cf",
        "\x1b[2J\x7f",
        "\ud800",
        float("nan"),
        Broken(),
        {Broken(): 1},
        10**5000,
        object(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_value_makes_one_line(written: list[str], value: Any) -> None:
    get_logger("x").info("told", value=value)
    (line,) = written
    assert len(line.splitlines()) == 1
    assert json.loads(line)["event"] == "told"
    assert not [c for c in line if ord(c) < 32 or 0x7F <= ord(c) < 0xA0]


def test_a_line_that_cannot_be_made_says_so_and_nothing_else(written: list[str]) -> None:
    logging.getLogger("x").warning("%d calls of %s", "no number", TOKEN)
    line = json.loads(written[0])
    assert (line["event"], line["logger"], line["error"]) == ("log.failed", "x", "TypeError")
    assert TOKEN not in written[0]


def test_arguments_join_before_they_are_masked(written: list[str]) -> None:
    logging.getLogger("x").warning("to %s%s%s", "+1415", "555", "0100")
    assert NUMBER not in written[0]


def test_a_chain_of_exceptions_with_notes_is_masked(written: list[str]) -> None:
    def fail() -> None:
        secret_in_source = "f00dfeedf00dfeedf00dfeedf00dfeed"
        try:
            {}[secret_in_source]  # type: ignore[index]
        except KeyError as error:
            found = ValueError({"body": "Hush"})
            found.add_note(f"to +{NUMBER}")
            raise found from error

    try:
        fail()
    except ValueError:
        get_logger("x").exception("failed")
    text = json.loads(written[0])["exception"]
    assert "KeyError" in text
    assert "direct cause" in text
    assert not [part for part in (TOKEN, NUMBER, "Hush") if part in text]


def test_pythons_last_words_are_masked_log_lines(written: list[str]) -> None:
    error = RuntimeError(f"{TOKEN} to +{NUMBER}")
    sys.excepthook(RuntimeError, error, None)
    sys.unraisablehook(
        type("Args", (), {"exc_type": RuntimeError, "exc_value": error, "exc_traceback": None})()
    )
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"{TOKEN} to +{NUMBER}", stacklevel=1)
    assert [json.loads(line)["event"].split(":")[0] for line in written][:2] == ["uncaught", "unraisable"]
    assert len(written) == 3
    assert not [line for line in written if TOKEN in line or NUMBER in line]


def test_a_command_that_logs_beside_its_output_masks_too(capsys: pytest.CaptureFixture[str]) -> None:
    structlog.reset_defaults()
    try:
        masked_beside_output()
        structlog.get_logger("x").warning("lane.stop", lane=f"+{NUMBER}", reason="body='Hush'\nmore")
        structlog.get_logger("x").info("quiet")
    finally:
        structlog.reset_defaults()
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "lane.stop" in err
    assert NUMBER not in err
    assert "Hush" not in err


_PROGRAM = """
import os, sys, threading
from broadcaster.leaving import leave
from broadcaster.telemetry import logs
logs.configure("info", "json")
log = logs.get_logger("x")
for i in range(2_000):
    log.warning("told", i=i)
os.write(1, b"sent all")
leave(3)
"""


@pytest.mark.parametrize(
    "where",
    [
        "/dev/full",
        "a pipe that nobody reads",
        pytest.param("a pipe whose reader has gone", marks=pytest.mark.slow),
        pytest.param("nowhere", marks=pytest.mark.slow),
    ],
)
def test_no_standard_error_stops_the_work(where: str) -> None:
    reader, end = os.pipe()
    if where == "/dev/full":
        os.dup2(os.open(where, os.O_WRONLY), end)
    if where != "a pipe that nobody reads":
        os.close(reader)
    closing = " 2>&-" if where == "nowhere" else ""
    ran = subprocess.run(
        ["bash", "-c", f'exec "$0" -c "$1"{closing}', sys.executable, _PROGRAM],
        stdout=subprocess.PIPE,
        stderr=end,
        timeout=50,
        check=False,
    )
    assert ran.stdout == b"sent all"
    assert ran.returncode == 3


def test_lines_that_were_lost_are_counted_once_somebody_reads_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "LINES_WAITING", 5)
    reader, end = os.pipe()
    os.set_blocking(end, False)
    filled = 0
    while True:
        try:
            filled += os.write(end, b"x" * 4096)
        except BlockingIOError:
            break
    os.set_blocking(end, True)
    writer = Writer(end, lambda count: f"lost {count}\n")
    for i in range(200):
        writer.write(f"{i}\n")
    lost = writer.dropped
    assert lost >= 200 - 5 - 100
    while filled:
        filled -= len(os.read(reader, min(filled, 1 << 16)))
    assert writer.flush(10)
    writer.write("after\n")
    assert writer.flush(10)
    os.close(end)
    with os.fdopen(reader) as file:
        told = file.read().splitlines()
    assert sum(int(line.split()[1]) for line in told if line.startswith("lost")) == lost
    assert [line for line in told if not line.startswith("lost")][:1] == ["0"]
    assert told[-1] == "after"
