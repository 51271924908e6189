"""Who counts as the same owner: the account and the kind of host, whatever port, region or token."""

from __future__ import annotations

import pytest

from broadcaster.domain.owner import Owner

A, B = "AC" + "1" * 32, "AC" + "2" * 32
SIMULATED = "http://127.0.0.1:9000"


@pytest.mark.parametrize(
    ("stored", "asked", "allowed"),
    [
        ((A, None), (A, None), True),
        ((A, None), (B, None), False),  # a subaccount, or the test credentials of the same one
        ((A, None), (A, "https://api.twilio.com"), True),
        ((A, None), (A, "https://api.dublin.ie1.twilio.com/"), True),
        ((A, "https://API.Twilio.com."), (A, None), True),
        ((A, None), (A, SIMULATED), False),
        ((A, SIMULATED), (A, None), False),
        ((A, SIMULATED), (A, "http://127.0.0.1:41234"), True),
        ((A, SIMULATED), (A, "http://localhost:9000"), True),
        ((A, SIMULATED), (A, "http://[::1]:9000"), True),
        ((A, SIMULATED), (B, SIMULATED), False),
        ((A, SIMULATED), (A, "http://simulator:9000"), False),
        ((A, "http://simulator:9000"), (A, "http://simulator:9001"), True),
        ((A, "http://simulator:9000"), (A, None), False),
        ((A, None), (A, "http://twilio:9000"), False),
        ((A, None), (A, "https://nottwilio.com"), False),
        ((A, None), (A, "https://twilio.com.example.org"), False),
        ((A, "http://10.0.0.1:9000"), (A, "http://10.0.0.2:9000"), False),
    ],
)
def test_who_may(stored: tuple[str, str | None], asked: tuple[str, str | None], *, allowed: bool) -> None:
    kept = Owner.read(str(Owner.of(*stored)))
    assert (kept == Owner.of(*asked)) is allowed


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (None, f"account {A} at Twilio"),
        (SIMULATED, f"account {A} at a simulator on this machine (TWILIO_API_BASE_URL)"),
        ("http://simulator:9000", f"account {A} at simulator (TWILIO_API_BASE_URL)"),
    ],
)
def test_in_words(url: str | None, told: str) -> None:
    assert Owner.of(A, url).told == told
