"""What the reading commands rest on: numbers as pasted, settings from another file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from broadcaster.cli.root import run
from broadcaster.domain.addresses import with_plus

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("+14155550100", "+14155550100"),
        ("14155550100", "+14155550100"),
        ("%2B14155550100", "+14155550100"),
        (" 14155550100", "+14155550100"),
        ("whatsapp:14155550100", "whatsapp:+14155550100"),
        ("whatsapp:+14155550100", "whatsapp:+14155550100"),
        ("0170 1234567", "0170 1234567"),
    ],
)
def test_a_number_is_taken_with_or_without_its_plus(typed: str, meant: str) -> None:
    assert with_plus(typed) == meant


def test_settings_from_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("TWILIO_AUTH_TOKEN", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("TWILIO_PHONE_NUMBER=+14155550100\n")
    other = tmp_path / "other.env"
    other.write_text("TWILIO_AUTH_TOKEN=secret-token\nREDIS_URL=redis://me:secret-word@localhost/1\n")
    assert run(["config", "show", "--json", "--env-file", str(other)]) == 0
    shown = capsys.readouterr().out
    rows = {row["variable"].removesuffix("[_FILE]"): row for row in json.loads(shown)}
    assert rows["TWILIO_AUTH_TOKEN"]["value"] == "•••"
    assert rows["TWILIO_AUTH_TOKEN"]["origin"] == str(other)
    assert rows["TWILIO_PHONE_NUMBER"]["value"] == ""
    assert "localhost/1" in rows["REDIS_URL"]["value"]
    assert "secret-" not in shown
    assert run(["config", "show", "--env-file", "nowhere.env"]) == 2
    assert "nowhere.env" in capsys.readouterr().err
