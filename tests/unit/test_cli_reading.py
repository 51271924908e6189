"""What the reading commands rest on: numbers as pasted, fingerprints, settings from another file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from broadcaster.cli.root import run
from broadcaster.domain.addresses import with_plus
from broadcaster.store.batches import fingerprint, fingerprints, has_fingerprint

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


def test_fingerprints_are_found_where_they_begin_only() -> None:
    numbers = [f"+1415555{i:04d}" for i in range(300)]
    prints = fingerprints(numbers)
    assert all(has_fingerprint(prints, fingerprint(number)) for number in numbers)
    assert has_fingerprint(b"\1\2\3\4", b"\3\4")
    assert not has_fingerprint(b"\1\2\3\4", b"\2\3")
    assert has_fingerprint(b"\1\2\2\3\2\3", b"\2\3")
    assert not has_fingerprint(b"", b"\2\3")


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
