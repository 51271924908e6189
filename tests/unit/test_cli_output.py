"""What the command line shows of what strangers wrote."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from broadcaster.cli.output import harmless, print_table, say

if TYPE_CHECKING:
    import pytest

STEERING = "\x1b[2J\x1b]0;gotcha\x07\x9b31m \u202egnp\u2066\r"


def test_a_reply_steers_no_terminal() -> None:
    shown = harmless(f"hi {STEERING} there")
    assert not any(c in shown for c in "\x1b\x07\x9b\u202e\u2066\r")
    assert harmless("caf\u00e9 \u05e9\u05dc\u05d5\u05dd \U0001f468\u200d\U0001f469 \u200fx\ty") == (
        "caf\u00e9 \u05e9\u05dc\u05d5\u05dd \U0001f468\u200d\U0001f469 \u200fx\ty"
    )
    assert harmless("hello\nmeaning: opt-in") == "hello\n  meaning: opt-in", "it passes for no line of ours"


def test_nothing_told_on_standard_error_steers_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"warning: a template called {STEERING}\n  is like it")
    assert capsys.readouterr().err.splitlines() == [
        "warning: a template called \ufffd[2J\ufffd]0;gotcha\ufffd\ufffd31m \ufffdgnp\ufffd\ufffd",
        "  is like it",
    ]


def test_ids_are_shown_whole_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "SM" + "0" * 32
    rows = [(name, "2026-11-21 18:00:00 UTC", "+14155550100", f"please {STEERING} stop " * 4)]
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    for terminal in (True, False):
        monkeypatch.setattr(sys.stdout, "isatty", lambda terminal=terminal: terminal)
        print_table(("reply", "when", "from", "text"), rows, whole=(0, 2))
        out = capsys.readouterr().out
        assert name in out, "the next command asks for it"
        assert "+14155550100" in out
        assert "\x1b]0" not in out
        assert "\u202e" not in out
