"""Bad input: one clear message on standard error, exit code 2, and nothing queued."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from commanding import Desk, simulated_twilio
from redis import Redis

from broadcaster.cli.root import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = ("--body", "Hi {{ name }}")


@pytest.fixture(scope="module")
def twilio() -> Iterator[str]:
    """One simulator for the file."""
    with simulated_twilio() as url:
        yield url


@pytest.fixture
def desk(tmp_path: Path, twilio: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A folder with some lists; the command runs in this process, so that many cases take little time."""
    desk = Desk(tmp_path, twilio, {"REDIS_URL": redis_url})
    for name in ("TWILIO_WHATSAPP_FROM", "TWILIO_MESSAGING_SERVICE_SID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in desk.settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    desk.people(3)
    desk.write("empty.csv")
    desk.write("broken.json", '["+14155550100", "+1415')
    desk.write("header.csv", "to,name")
    desk.write("columns.csv", "handy,name", "+14155550100,Ada")
    desk.write("faulty.csv", "to,name", "+14155550100,Ada", "12,Bob", "+14155550102,", "+14155550103,Dan")
    desk.write("whatsapp.txt", "whatsapp:+14155550100")
    (tmp_path / "binary.csv").write_bytes(b"PK\x03\x04\0\0\0\0")
    return desk


CASES: list[tuple[str, list[str], str]] = [
    ("unknown option", ["people.csv", *BODY, "--frm", "x"], "No such option"),
    ("no such file", ["nobody.csv", *BODY], "cannot read nobody.csv: No such file"),
    ("a folder", [".", *BODY], "cannot read .: Is a directory"),
    ("not text", ["binary.csv", *BODY], "is a zip archive or an Excel workbook"),
    ("broken JSON", ["broken.json", *BODY], "line 1: not valid JSON: Invalid control character."),
    ("empty list", ["empty.csv", *BODY], "empty.csv is empty"),
    ("only a header", ["header.csv", *BODY], "header.csv has no recipients"),
    (
        "wrong column",
        ["people.csv", *BODY, "--to-column", "tel"],
        "no column 'tel'. Its columns: 'to', 'name'",
    ),
    ("no usual column", ["columns.csv", *BODY], "--to-column COLUMN. Its columns: 'handy', 'name'"),
    (
        "unknown variable",
        ["people.csv", "--body", "Hi {{ nmae }}"],
        "nmae (did you mean name?); the list has: to, name",
    ),
    ("template syntax", ["people.csv", "--body", "Hi {{ name }"], "column"),
    ("body too long", ["people.csv", "--body", "x" * 1601], "1,601 characters, Twilio takes 1,600"),
    ("long after rendering", ["people.csv", "--body", "{{ name }}" + "x" * 1599], "3 of 3 rows have a fault"),
    ("empty body", ["people.csv", "--body", " "], "the body is empty"),
    ("nothing to send", ["people.csv"], "nothing to send"),
    (
        "body and template",
        ["people.csv", *BODY, "--content-sid", "HX" + "0" * 32],
        "Twilio would refuse this",
    ),
    ("no template", ["people.csv", "--content-sid", "HX12"], "Twilio would refuse this"),
    (
        "variables no JSON",
        ["people.csv", "--content-sid", "HX" + "0" * 32, "--content-variables", "{"],
        "is no JSON",
    ),
    ("too many media", ["people.csv", *BODY, *["--media-url", "https://example.org/a.png"] * 11], "MediaUrl"),
    ("a From that is none", ["people.csv", *BODY, "--from", "+1"], "write it like +14155550100"),
    ("a From with signs", ["people.csv", *BODY, "--from", "!!"], "is no sender"),
    ("no sender that fits", ["whatsapp.txt", "--body", "Hi"], "no sender for whatsapp recipients"),
    (
        "service with another",
        ["people.csv", *BODY, "--from", "MG" + "0" * 32, "--from", "+14155550199"],
        "stands alone",
    ),
    (
        "a service that is not there",
        ["people.csv", *BODY, "--messaging-service", "MG" + "0" * 31 + "9"],
        "this account has no Messaging Service MG0000",
    ),
    ("time without zone", ["people.csv", *BODY, "--at", "2030-01-01T10:00"], "has no offset"),
    ("a zone without time", ["people.csv", *BODY, "--zone", "UTC"], "--zone is the zone of --at"),
    (
        "a draft with a time",
        ["people.csv", *BODY, "--at", "2030-01-01T10:00Z", "--draft"],
        "exclude each other",
    ),
    ("a rate that is none", ["people.csv", *BODY, "--rate", "fast"], "--rate: 'fast' is no rate"),
    ("no duration", ["people.csv", *BODY, "--expires-in", "soon"], "'soon' is no duration"),
    ("an empty key", ["people.csv", *BODY, "--idempotency-key", ""], "takes 1 to 255 characters, this has 0"),
    ("a huge key", ["people.csv", *BODY, "--idempotency-key", "k" * 256], "takes 1 to 255 characters"),
    ("unknown priority", ["people.csv", *BODY, "--priority", "high"], "'high' is not one of"),
    ("faulty rows", ["faulty.csv", *BODY], "2 of 4 rows have a fault"),
    ("rejects over the list", ["people.csv", *BODY, "--rejects", "people.csv"], "overwrite the list"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_refused(
    desk: Desk, redis_url: str, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(["send", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert nothing_queued(redis_url), desk.folder


def nothing_queued(redis_url: str) -> bool:
    """Whether no broadcast left a trace."""
    with Redis.from_url(redis_url) as redis:
        keys = {key.decode().removeprefix("broadcaster:") for key in redis.scan_iter()}
        return keys <= {
            "owner",
            "epoch",
            "format",
            "raised",
            "server",
            "serials",
            "importing",
            "optouts:epoch",
        }


def test_every_fault_is_listed(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["send", "faulty.csv", *BODY]) == 2
    error = capsys.readouterr().err
    assert "line 3, to: '12' no country code" in error
    assert "line 4, name: " in error
    assert len(error.splitlines()) == 3
    assert desk.folder


@pytest.mark.usefixtures("desk")
class TestOtherSide:
    """What is refused because of Twilio or Redis."""

    def test_refused_credentials(
        self, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("TWILIO_AUTH_TOKEN", "wrong-token")
        assert run(["send", "people.csv", *BODY]) == 2
        error = capsys.readouterr().err
        assert "Twilio refused the credentials" in error
        assert "wrong-token" not in error
        assert nothing_queued(redis_url)

    def test_no_credentials(
        self, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.delenv("TWILIO_AUTH_TOKEN")
        assert run(["send", "people.csv", *BODY]) == 2
        assert "TWILIO_AUTH_TOKEN is not set" in capsys.readouterr().err
        assert nothing_queued(redis_url)

    def test_twilio_out_of_reach_only_warns(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("TWILIO_API_BASE_URL", "http://127.0.0.1:1")
        assert run(["send", "people.csv", *BODY]) == 0
        error = capsys.readouterr().err
        assert "Warning: the credentials could not be checked" in error
        assert "No worker is running; it is queued" in error

    def test_no_sender_at_all(
        self, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.delenv("TWILIO_PHONE_NUMBER")
        assert run(["send", "people.csv", *BODY]) == 2
        assert "no sender for sms recipients" in capsys.readouterr().err
        assert nothing_queued(redis_url)

    def test_a_setting_that_is_wrong(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("BROADCASTER_CONCURRENCY", "many")
        assert run(["send", "people.csv", *BODY]) == 2
        assert "BROADCASTER_CONCURRENCY" in capsys.readouterr().err

    def test_redis_out_of_reach(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("REDIS_URL", "redis://:hidden@127.0.0.1:1/0")
        assert run(["send", "people.csv", *BODY]) == 2
        error = capsys.readouterr().err
        assert "Redis does not answer" in error
        assert "hidden" not in error

    @pytest.mark.parametrize(
        ("info", "message"),
        [
            ("redis_version:6.2.14\r\nredis_mode:standalone\r\n", "Redis 6.2.14 is too old"),
            ("redis_version:7.2.0\r\nredis_mode:cluster\r\n", "This is a Redis Cluster"),
        ],
    )
    def test_a_redis_that_can_not_be_used(
        self, info: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with redis_saying(info) as url:
            monkeypatch.setenv("REDIS_URL", url)
            assert run(["send", "people.csv", *BODY]) == 2
        assert message in capsys.readouterr().err


@contextmanager
def redis_saying(info: str) -> Iterator[str]:
    """Listen as a Redis that answers OK to everything, and `info` to INFO."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            while request := connection.recv(65536):
                for command in request.split(b"*")[1:]:
                    told = info.encode()
                    answer = b"$%d\r\n%s\r\n" % (len(told), told) if b"INFO\r\n" in command else b"+OK\r\n"
                    connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
    finally:
        listener.close()
        thread.join(5)
