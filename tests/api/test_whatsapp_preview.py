"""What WhatsApp draws goes out as it was written, and is drawn in previews."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from broadcasting import post
from commanding import Desk, accepted, simulated_twilio
from hosting import hosting

from broadcaster.cli.root import run
from broadcaster.cli.whatsapp_preview import shown_text
from broadcaster.simulator.config import ACCOUNT_SID

if TYPE_CHECKING:
    from pathlib import Path

    from broadcaster.store.connection import Store

BODY = "*bold* _it's *both*_ ~gone~\n```code *x*```\nHi {{ name }} <3"
SENT = BODY.replace("{{ name }}", "*Ann*")
HTML = (
    "<b>bold</b> <i>it&#x27;s </i><i><b>both</b></i> <s>gone</s>\n<code>code *x*</code>\nHi <b>Ann</b> &lt;3"
)
TO = "whatsapp:+14155550100"
SENDER = "whatsapp:+14155550199"


async def test_marks_pass_through_and_are_drawn_in_previews(store: Store, tmp_path: Path) -> None:
    with simulated_twilio(senders={SENDER: 80}) as twilio:
        settings: dict[str, Any] = {
            "twilio_account_sid": ACCOUNT_SID,
            "twilio_auth_token": "simulator",
            "twilio_api_base_url": twilio,
        }
        order: dict[str, Any] = {"body": BODY, "from": SENDER, "outside_window": "send"}
        async with hosting(store, **settings) as api:
            recipients = [{"to": TO, "name": "*Ann*"}, {"to": "whatsapp:+14155550101", "name": "Bob"}]
            tried = await post(api, "/v1/broadcasts", **order, recipients=recipients, dry_run=True)
            shown = tried.json()["messages"][0]
            assert (shown["body"], shown["preview_html"]) == (SENT, HTML)
            tested = await post(api, "/v1/broadcasts", **order, recipients=recipients, test_to=TO)
            assert tested.json()["outcome"] == "accepted", tested.text
        assert [one["body"] for one in accepted(twilio)] == [SENT]
    desk = Desk(tmp_path, "http://127.0.0.1:9", {"TWILIO_AUTH_TOKEN": ""})
    desk.write("sms.csv", "to,name", "+14155550100,*Ann*")
    command = ("send", "sms.csv", "--body", BODY, "--dry-run", "--json")
    _, out, _ = await asyncio.to_thread(desk.call, *command)
    (shown,) = json.loads(out)["messages"]
    assert shown["preview_html"] == SENT.replace("'", "&#x27;").replace("<", "&lt;"), "an SMS has no marks"


class Terminal(io.StringIO):
    """A screen."""

    def isatty(self) -> bool:
        return True


def draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let both streams be terminals that draw; in the test itself, for pytest has streams for its setup."""
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.mark.parametrize("err", [True, False])
def test_a_terminal_draws_them(monkeypatch: pytest.MonkeyPatch, *, err: bool) -> None:
    draw(monkeypatch)
    drawn = shown_text("*a* _b *c*_\n~d~ `e`", TO, err=err)
    assert drawn == (
        "\x1b[1ma\x1b[0m \x1b[3mb \x1b[0m\x1b[1m\x1b[3mc\x1b[0m\n  \x1b[9md\x1b[0m \x1b[36me\x1b[0m"
    )
    assert shown_text("*a*", "+14155550100", err=err) == "*a*"
    monkeypatch.setenv("NO_COLOR", "1")
    assert shown_text("*a*", TO, err=err) == "*a*"
    monkeypatch.setenv("NO_COLOR", "")
    assert shown_text("*a*", TO, err=err) == "\x1b[1ma\x1b[0m"
    monkeypatch.setenv("TERM", "dumb")
    assert shown_text("*a*", TO, err=err) == "*a*"


def test_what_steers_a_terminal_is_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    draw(monkeypatch)
    assert shown_text("*a\x1b[2J*", TO) == "\x1b[1ma\ufffd[2J\x1b[0m"
    assert shown_text("a\x1b[2J", "+14155550100") == "a\ufffd[2J"
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert shown_text("*a*\x1b", TO) == "*a*\x1b", "a program gets what is sent"


def test_the_preview_of_a_list_is_drawn_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "people.csv").write_text(f"to,name\n{TO},Ann\n")
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("TWILIO_", "REDIS_", "BROADCASTER_")):
            monkeypatch.delenv(name)
    draw(monkeypatch)
    code = run(["send", "people.csv", "--body", "Hi *{{ name }}*", "--from", SENDER, "--dry-run"])
    screen = sys.stdout
    assert isinstance(screen, Terminal)
    assert (code, f"{TO}: Hi \x1b[1mAnn\x1b[0m [1]" in screen.getvalue()) == (0, True), screen.getvalue()
