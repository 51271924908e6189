from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from broadcaster.telemetry.logs import configure, get_logger
from broadcaster.telemetry.masking import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "f00dfeedf00dfeedf00dfeedf00dfeed"
NUMBER = "14155550100"


class Lines(io.StringIO):
    tty = False

    def isatty(self) -> bool:
        return self.tty

    @property
    def last(self) -> dict[str, Any]:
        line: dict[str, Any] = json.loads(self.getvalue().splitlines()[-1])
        return line


@pytest.fixture
def lines() -> Iterator[Lines]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = Lines()
    configure("debug", "json", secrets=[TOKEN, "p@ss/word"], stream=stream)
    yield stream
    root.handlers[:], level = before
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_a_line_is_json_with_the_event_and_its_values(lines: Lines) -> None:
    get_logger("broadcaster.test").info("slice_done", lane="MG" + "1c" * 16, accepted=3, seconds=0.25)
    line = lines.last
    assert (line["event"], line["level"], line["logger"]) == ("slice_done", "info", "broadcaster.test")
    assert (line["lane"], line["accepted"], line["seconds"]) == ("MG" + "1c" * 16, 3, 0.25)
    assert line["timestamp"].endswith("Z")


def test_other_libraries_lines_take_the_same_way(lines: Lines) -> None:
    logging.getLogger("somebody").warning("called %s with %s", f"+{NUMBER}", {"token": "x"})
    line = lines.last
    assert line["event"] == f"called +1415{HIDDEN}0100 with {{'token': {HIDDEN}}}"
    assert (line["level"], line["logger"]) == ("warning", "somebody")


def test_bound_values_are_masked_too(lines: Lines) -> None:
    structlog.contextvars.bind_contextvars(recipient=f"whatsapp:+{NUMBER}")
    get_logger("x").bind(body="Hello", sender=f"+{NUMBER}").error("refused")
    line = lines.last
    assert line["recipient"] == f"whatsapp:+1415{HIDDEN}0100"
    assert line["sender"] == f"+1415{HIDDEN}0100"
    assert "body" not in line


def test_an_exception_is_written_masked(lines: Lines) -> None:
    def fail() -> None:
        raise ValueError(f"no route to +{NUMBER} with {TOKEN}")

    try:
        fail()
    except ValueError:
        get_logger("x").exception("send_failed")
    text = lines.last["exception"]
    assert "ValueError: no route to" in text
    assert NUMBER not in text
    assert TOKEN not in text


def test_arqs_line_for_every_job_is_off_and_its_errors_are_not(lines: Lines) -> None:
    logging.getLogger("arq.worker").info("%6.2fs → %s(%s)", 0.1, "job", "arguments")
    assert lines.getvalue() == ""
    logging.getLogger("arq.worker").error("job failed")
    assert lines.last["event"] == "job failed"


def test_levels_below_the_chosen_one_are_not_written() -> None:
    stream = Lines()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        configure("warning", "json", stream=stream)
        get_logger("x").info("quiet")
        get_logger("x").warning("loud")
    finally:
        root.handlers[:], level = before
        root.setLevel(level)
        structlog.reset_defaults()
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud"]


@pytest.mark.parametrize(
    ("chosen", "tty", "is_json"), [("auto", True, False), ("auto", False, True), ("json", True, True)]
)
@pytest.mark.usefixtures("lines")
def test_a_terminal_gets_readable_lines(chosen: Any, tty: bool, is_json: bool) -> None:  # noqa: FBT001
    stream = Lines()
    stream.tty = tty
    configure("info", chosen, stream=stream)
    get_logger("x").error("something_happened", to=f"+{NUMBER}", exc_info=RuntimeError(f"+{NUMBER}"))
    text = stream.getvalue()
    assert "something_happened" in text
    assert NUMBER not in text
    assert text.startswith("{") is is_json


@pytest.mark.usefixtures("lines")
def test_configuring_again_does_not_write_twice() -> None:
    stream = Lines()
    configure("info", "json", stream=stream)
    configure("info", "json", stream=stream)
    get_logger("x").info("once")
    assert len(stream.getvalue().splitlines()) == 1
