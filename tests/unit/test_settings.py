from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.cli.settings_table import describe, markdown
from broadcaster.domain import settings_rules
from broadcaster.settings import Settings, SettingsError, is_secret, load_settings, variable_of

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNT = "AC" + "0a" * 16
KEY = "SK" + "1b" * 16
SECRETS = [name for name in Settings.model_fields if is_secret(name)]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith(("TWILIO_", "BROADCASTER_", "REDIS_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_nothing_set_gives_the_defaults() -> None:
    settings = load_settings()
    assert (settings.concurrency, settings.redis_address, settings.api_port) == (64, None, 8080)


def test_the_environment_wins_over_the_file_and_an_option_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(
        "TWILIO_PHONE_NUMBER='+1 (415) 555-0100'\nBROADCASTER_CONCURRENCY=7\nBROADCASTER_MAX_ATTEMPTS=2\n"
        "BROADCASTER_LOG_LEVEL=\nUNRELATED=1\n"
    )
    monkeypatch.setenv("BROADCASTER_CONCURRENCY", "8")
    monkeypatch.setenv("BROADCASTER_MAX_ATTEMPTS", "")
    settings = load_settings(region="DE")
    assert (settings.concurrency, settings.max_attempts, settings.region) == (8, 2, "DE")
    assert settings.twilio_phone_number == "+14155550100"
    assert settings.log_level == "info"
    origins = [settings.origin(name) for name in ("concurrency", "max_attempts", "region", "log_level")]
    assert origins == ["environment", ".env", "option", "default"]


def test_only_our_own_names_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONCURRENCY", "LOG_LEVEL", "DATA_DIR", "API_KEY", "REGION"):
        monkeypatch.setenv(name, "nonsense")
    assert load_settings() == load_settings(env_file=None)


def test_settings_never_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().concurrency = 1


@pytest.mark.parametrize("field_name", SECRETS)
def test_every_secret_can_come_from_a_file(
    field_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = {"redis_url": "redis://:pw@host:6379/0", "proxy_url": "http://u:pw@proxy"}.get(
        field_name, "a-secret-of-some-length"
    )
    (tmp_path / "secret").write_text(value + "\n")
    monkeypatch.setenv(f"{variable_of(field_name)}_FILE", "secret")
    monkeypatch.setenv("TWILIO_API_KEY", KEY)
    if field_name != "twilio_api_secret":
        monkeypatch.setenv("TWILIO_API_SECRET", "x")
    settings = load_settings()
    assert getattr(settings, field_name).get_secret_value() == value
    assert settings.origin(field_name) == "environment"


def test_a_secret_file_may_be_named_in_the_env_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0k3n")
    (tmp_path / ".env").write_text(
        f"TWILIO_AUTH_TOKEN_FILE={tmp_path / 'token'}\nTWILIO_ACCOUNT_SID={ACCOUNT}\n"
    )
    assert load_settings().credentials() == (ACCOUNT, ACCOUNT, "t0k3n")


def test_a_secret_given_twice_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TWILIO_AUTH_TOKEN_FILE", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match=r"TWILIO_AUTH_TOKEN_FILE: cannot read .*No such file"):
        load_settings()
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "x")
    with pytest.raises(SettingsError, match="both set"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("BROADCASTER_CONCURRENCY", "many", "must be a whole number, not 'many'."),
        ("BROADCASTER_CONCURRENCY", "0", "must be at least 1, not '0'."),
        ("BROADCASTER_ACCOUNT_RATE", "fast", "must be a number, not 'fast'."),
        ("BROADCASTER_ACCOUNT_RATE", "nan", "must be at most 100000, not 'nan'."),
        ("BROADCASTER_READ_TIMEOUT_SECONDS", "5", "must be at least 30, not '5'."),
        ("BROADCASTER_LOG_LEVEL", "loud", "must be one of debug, info, warning, error, not 'loud'."),
        ("BROADCASTER_REGION", "usa", "must be a country's two capital letters, like US, not 'usa'."),
        ("BROADCASTER_KEY_PREFIX", "a b", "must be at most 32 letters, digits, . _ or -, not 'a b'."),
        (
            "BROADCASTER_PUBLIC_URL",
            "example.com",
            "must be a URL with a host, starting with https://, http://",
        ),
        ("TWILIO_PHONE_NUMBER", "+0123", "must be a number like +14155550100, a short code"),
        ("TWILIO_PHONE_NUMBER", "whatsapp:+14155550100", "give a whatsapp: sender as TWILIO_WHATSAPP_FROM"),
        ("TWILIO_WHATSAPP_FROM", "Acme", "must be a WhatsApp sender like whatsapp:+14155550100"),
        ("TWILIO_MESSAGING_SERVICE_SID", ACCOUNT, "must be MG and 32 hexadecimal digits"),
        ("TWILIO_REGION", "Ireland!", "must be a name of Twilio's, like ie1"),
        (
            "REDIS_URL",
            "localhost:6379",
            "must be a URL with a host, starting with redis://, rediss://, unix://.",
        ),
        ("BROADCASTER_API_PORT", "tcp://10.0.0.1:80", "enableServiceLinks: false"),
        ("BROADCASTER_STOP_WORDS", "Spanish:BAJA", "must be words by language, like es:BAJA,ALTO;de:STOPP"),
        ("BROADCASTER_AUTO_REPLY", "x" * 1601, "must be a text of at most 1,600 characters"),
        ("BROADCASTER_API_PORT", "70000", "must be at most 65535, not '70000'."),
    ],
)
def test_a_wrong_value_is_one_plain_sentence(
    name: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    (fault,) = caught.value.faults
    assert fault.startswith(name + " ")
    assert sentence in fault
    assert str(caught.value) == fault


def test_all_wrong_values_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROADCASTER_CONCURRENCY", "many")
    monkeypatch.setenv("BROADCASTER_API_PORT", "-1")
    with pytest.raises(SettingsError, match="2 settings are wrong") as caught:
        load_settings()
    assert len(caught.value.faults) == 2


@pytest.mark.parametrize("name", ["TWILIO_ACCOUNT_SID", "TWILIO_API_KEY", "TWILIO_PHONE_NUMBER", "REDIS_URL"])
def test_a_token_pasted_into_the_wrong_variable_is_not_echoed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "0123456789abcdef-token")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "0123456789abcdef" not in str(caught.value)


def test_a_word_has_one_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROADCASTER_STOP_WORDS", "es:Baja")
    monkeypatch.setenv("BROADCASTER_HELP_WORDS", "b\u00e1ja!")
    with pytest.raises(SettingsError, match=r"BROADCASTER_STOP_WORDS and BROADCASTER_HELP_WORDS: keep one"):
        load_settings()


def test_half_an_api_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWILIO_API_KEY", KEY)
    with pytest.raises(SettingsError, match="TWILIO_API_KEY is set but TWILIO_API_SECRET is not"):
        load_settings()


def test_backoff_bounds_must_fit() -> None:
    with pytest.raises(SettingsError, match="BACKOFF_CAP_SECONDS is below"):
        load_settings(backoff_base_seconds=10, backoff_cap_seconds=5)


def test_credentials_prefer_the_api_key_and_say_what_is_missing() -> None:
    with pytest.raises(SettingsError, match="TWILIO_ACCOUNT_SID is not set"):
        load_settings().credentials()
    with pytest.raises(SettingsError, match="TWILIO_AUTH_TOKEN is not set"):
        load_settings(twilio_account_sid=ACCOUNT).credentials()
    both = load_settings(
        twilio_account_sid=ACCOUNT, twilio_auth_token="t", twilio_api_key=KEY, twilio_api_secret="s"
    )
    assert both.credentials() == (ACCOUNT, KEY, "s")


def test_another_server_in_twilios_place() -> None:
    assert (
        load_settings(twilio_api_base_url="http://127.0.0.1:9000/").twilio_api_base_url
        == "http://127.0.0.1:9000"
    )


def test_the_logs_are_told_every_secret() -> None:
    settings = load_settings(
        twilio_auth_token="t0k3n", redis_url="redis://:p%40w@host", secret_key="a" * 20 + "," + "b" * 20
    )
    assert set(settings.secrets) == {
        *("t0k3n", "redis://:p%40w@host", "p@w"),
        *("a" * 20 + "," + "b" * 20, "a" * 20, "b" * 20),
    }


def test_two_signing_keys_while_one_is_being_changed() -> None:
    assert load_settings(secret_key="n" * 16 + ", " + "o" * 16).secret_keys == ("n" * 16, "o" * 16)
    assert load_settings().secret_keys == ()
    for keys in ("short", "n" * 16 + ",short", ",".join("abc" * 6 for _ in range(3))):
        with pytest.raises(SettingsError, match="at least 16 characters"):
            load_settings(secret_key=keys)


def test_an_env_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"TWILIO_REGION=\xff\xfe\n")
    with pytest.raises(SettingsError, match="UTF-8"):
        load_settings()


def test_no_secret_is_ever_shown() -> None:
    hidden = {name: f"hush-{name}-0123456789" for name in SECRETS} | {
        "redis_url": "redis://user:hush-redis@host:1/0?password=hush",
        "proxy_url": "http://user:hush-proxy@proxy",
    }
    settings = load_settings(None, **hidden, twilio_api_key=KEY)
    rows = describe(settings)
    for text in (repr(settings), str(settings), str(settings.model_dump()), repr(rows), markdown(rows)):
        assert "hush" not in text
    by_name = {row.variable: row for row in rows}
    assert by_name["REDIS_URL[_FILE]"].value == "redis://•••@host:1/0?•••"
    assert by_name["TWILIO_API_KEY"].value == KEY
    assert by_name["BROADCASTER_CONCURRENCY"].value == by_name["BROADCASTER_CONCURRENCY"].default == "64"


def test_the_manuals_page_has_every_setting_with_its_purpose() -> None:
    rows = describe()
    assert [row.variable.removesuffix("[_FILE]") for row in rows] == [
        variable_of(name) for name in Settings.model_fields
    ]
    assert all(row.purpose for row in rows)
    assert len(markdown(rows).splitlines()) == len(rows) + 2


def test_the_names_other_peoples_scripts_depend_on() -> None:
    fixed = """TWILIO_ACCOUNT_SID TWILIO_AUTH_TOKEN TWILIO_AUTH_TOKEN_SECONDARY TWILIO_API_KEY
    TWILIO_API_SECRET
    TWILIO_REGION TWILIO_EDGE TWILIO_PHONE_NUMBER TWILIO_WHATSAPP_FROM TWILIO_MESSAGING_SERVICE_SID
    TWILIO_VERIFY_SERVICE_SID TWILIO_API_BASE_URL REDIS_URL BROADCASTER_API_URL BROADCASTER_API_KEY
    BROADCASTER_API_HOST BROADCASTER_API_PORT BROADCASTER_PUBLIC_URL BROADCASTER_SECRET_KEY
    BROADCASTER_DATA_DIR BROADCASTER_KEY_PREFIX BROADCASTER_METRICS_PORT BROADCASTER_RETENTION_DAYS
    BROADCASTER_LOG_LEVEL BROADCASTER_LOG_FORMAT"""
    assert set(fixed.split()) <= {variable_of(name) for name in Settings.model_fields}


@given(st.text(max_size=40))
def test_a_rule_keeps_a_text_or_says_what_it_must_be(text: str) -> None:
    for rule in (
        settings_rules.sid("AC"),
        settings_rules.sms_from,
        settings_rules.whatsapp_from,
        settings_rules.url("http"),
        settings_rules.signing_keys,
    ):
        try:
            kept = rule(text)
        except ValueError as error:
            assert str(error).startswith("must be ")  # noqa: PT017 - either is right, nothing else is
        else:
            assert rule(kept) == kept


def test_the_rest_of_the_program_does_not_need_settings_to_start() -> None:
    code = "import sys, broadcaster, broadcaster.cli; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8080",
        "http://api:8080",
        "https://10.1.2.3",
        "https://[fd00::1]",
        "https://sms_1.example.com",
    ],
)
def test_an_address_that_twilio_cannot_reach_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"PUBLIC_URL is .*, which Twilio can't reach"):
        load_settings(None, public_url=url)
    assert load_settings(None, public_url=url, twilio_api_base_url="http://127.0.0.1:9000").public_url == url


def test_an_address_that_it_can_reach_is_taken() -> None:
    assert (
        load_settings(None, public_url="https://sms.example.com/x/").public_url == "https://sms.example.com/x"
    )


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("https://a.example/", "https://a.example"),
        ("HTTPS://User:Pass@A.Example:8443/Sub/", "https://User:Pass@a.example:8443/Sub"),
        ("https://[2600:1F14::1]:8443", "https://[2600:1f14::1]:8443"),
        ("https://a.example/?x=1", None),
        ("https://a.example?", None),
        ("https://a.example#rc=5", None),
        ("https://a example", None),
        ("ftp://a.example", None),
    ],
)
def test_where_twilio_calls_us_takes_paths_behind_it(given: str, taken: str | None) -> None:
    if taken is None:
        with pytest.raises(SettingsError, match="PUBLIC_URL"):
            load_settings(None, public_url=given)
    else:
        assert load_settings(None, public_url=given).public_url == taken
