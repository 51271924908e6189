"""Purpose, consent and hours of an order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.domain.broadcast import Priority
from broadcaster.domain.purpose import Consent, parse_consent
from broadcaster.domain.times import TimeError
from broadcaster.operations.terms import window_of
from broadcaster.settings import Settings, load_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "source"),
    [("webform,2026-01-31", "webform"), ("shop, Lima,2026-01-31T09:30-05:00", "shop, Lima")],
)
def test_consent(text: str, source: str) -> None:
    consent = parse_consent(text)
    assert consent.source == source
    assert parse_consent(str(consent)) == consent


@pytest.mark.parametrize("text", ["", "webform", ",2026-01-31", "webform,", "form,soon", "form,2999-01-01"])
def test_no_consent(text: str) -> None:
    with pytest.raises(TimeError):
        parse_consent(text)


def test_consent_at_a_date_is_its_first_moment() -> None:
    assert parse_consent("form,1970-01-02") == Consent("form", 86400.0)


@pytest.fixture
def settings() -> Settings:
    return load_settings(None, send_window="08:00-21:00 UTC")


def test_a_window_is_named_or_set(settings: Settings, tmp_path: Path) -> None:
    assert str(window_of(settings, None, None, Priority.URGENT, ignored=False)) == "08:00-21:00 UTC"
    named = window_of(settings, "09:00-10:00", "Europe/Berlin", Priority.BULK, ignored=False)
    assert str(named) == "09:00-10:00 Europe/Berlin"
    assert window_of(settings, None, None, Priority.URGENT, ignored=True) is None
    assert window_of(load_settings(tmp_path / "none"), None, None, Priority.BULK, ignored=False) is None


@pytest.mark.parametrize(
    ("hours", "priority"),
    [(None, Priority.NORMAL), ("09:00-10:00 UTC", Priority.URGENT)],
)
def test_only_urgent_ones_ignore_it(settings: Settings, hours: str | None, priority: Priority) -> None:
    with pytest.raises(TimeError):
        window_of(settings, hours, None, priority, ignored=True)
