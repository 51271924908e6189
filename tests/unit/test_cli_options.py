"""What is typed: times, durations, exit codes, and a help page that comes at once."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import click
import pytest

from broadcaster.cli.exits import InputError
from broadcaster.cli.explaining import explain
from broadcaster.cli.options import parse_duration, parse_time
from broadcaster.cli.output import span
from broadcaster.cli.root import COMMANDS, cli, run
from broadcaster.store.errors import StoreError, Unreachable, WrongServer

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90m", 5400), ("2h", 7200), ("1d", 86400), ("45s", 45), ("1.5 h", 5400), ("2H", 7200)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "m", "-1h", "0h", "1 fortnight", "1h30m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no duration"):
        parse_duration(text)


def test_times() -> None:
    at = datetime(2026, 12, 24, 17, 30, tzinfo=UTC).timestamp()
    assert parse_time("2026-12-24T18:30+01:00", None, now=NOON) == at
    assert parse_time("2026-12-24 17:30Z", None, now=NOON) == at
    assert parse_time("2026-12-24T18:30", "Europe/Berlin", now=NOON) == at
    # an offset wins over the zone
    assert parse_time("2026-12-24T17:30+00:00", "Europe/Berlin", now=NOON) == at


@pytest.mark.parametrize(
    ("text", "zone", "message"),
    [
        ("2026-12-24T18:30", None, "has no offset"),
        ("2026-12-24", None, "has no offset"),
        ("tomorrow", None, "is no time"),
        ("2026-12-24T18:30", "Berlin", "no time zone 'Berlin'"),
        ("2026-11-21T11:59Z", None, "in the past"),
        ("2027-03-28T02:30", "Europe/Berlin", "does not exist in Europe/Berlin"),
    ],
)
def test_what_is_no_time_is_refused(text: str, zone: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_time(text, zone, now=NOON)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "less than a second"),
        (40, "40 s"),
        (720, "12 min"),
        (12000, "3 h 20 min"),
        (187200, "2 d 4 h"),
    ],
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_errors_become_exit_codes() -> None:
    assert explain(InputError("x")) == (2, "Error: x")
    assert explain(Unreachable("no Redis")) == (2, "Error: no Redis")
    assert explain(WrongServer("a Cluster")) == (2, "Error: a Cluster")
    assert explain(StoreError("refused")) == (1, "Error: refused")
    assert explain(KeyError("a bug")) is None


def test_help_imports_nothing_heavy() -> None:
    heavy = ("pydantic", "redis", "httpx", "jinja2", "rich", "phonenumbers", "asyncio", "msgspec")
    code = (
        "import sys; from broadcaster.cli.root import run; assert run(['--help']) == 0;"
        f"print('heavy:', *sorted(set(sys.modules) & set({heavy!r})))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip().endswith("heavy:")
    for name in COMMANDS:
        assert f"  {name} " in shown


def test_a_misspelt_command_gets_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sned"]) == 2
    assert "No such command 'sned'. Did you mean send?" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there(name: str) -> None:
    found = cli.get_command(click.Context(cli), name)
    assert isinstance(found, click.Command)
    assert found.name == name


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["send"],
        ["send", "x.csv", "--nonsense"],
        ["broadcasts", "show"],
        ["senders", "set", "1"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Error: " in captured.err
