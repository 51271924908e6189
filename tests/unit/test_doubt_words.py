from __future__ import annotations

import time

from broadcaster.reporting.doubt import SearchState


def clock(at: float) -> str:
    return time.strftime("%H:%M:%S UTC", time.gmtime(at))


def test_what_doubt_waits_for_is_said_in_a_line() -> None:
    plain = SearchState(since=1000, absent_after=1060.0)
    assert plain.words(3) == (
        f"3 in doubt: looking for evidence since {clock(1000)}; absent not before {clock(1060)}"
    )
    owned = SearchState(since=1000, owners=2, owners_until=1900.0, refused="Twilio answered HTTP 500")
    assert owned.words(2) == (
        f"2 in doubt: looking for evidence since {clock(1000)}; 2 until their worker is known to be gone, at "
        f"the latest at {clock(1900)}; Twilio's list can't be read: Twilio answered HTTP 500"
    )
    assert owned.summary(2)["absent_after"] is None
