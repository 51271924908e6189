"""Where Twilio shall tell what became of a message: each one's `StatusCallback` with its signed reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broadcaster.twilio.forms import quote

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.domain.reference import References

#: Below BROADCASTER_PUBLIC_URL.
STATUS_PATH: Final = "/webhooks/twilio/status"
#: Five more tries after whatever went wrong, where Twilio makes one, and that only if it can't connect
#: (docs: usage/webhooks/webhooks-connection-overrides). The fragment never leaves Twilio and isn't signed.
RETRYING: Final = "#rc=5&rp=all"


class CallbackUrls:
    """Makes `{public_url}/webhooks/twilio/status?r=REFERENCE#rc=5&rp=all`, as a parameter of a form."""

    def __init__(self, public_url: str, references: References) -> None:
        self._before = b"&StatusCallback=" + quote(f"{public_url}{STATUS_PATH}?r=")
        self._after = quote(RETRYING)
        self._references = references

    def of_batch(self, broadcast: str, batch: str) -> Callable[[int, int], bytes]:
        """Return what makes the parameter, its `&` first, from a message's index and attempt."""
        reference = self._references.of_batch(broadcast, batch)
        before, after = self._before, self._after

        def parameter(row: int, attempt: int) -> bytes:
            return before + reference(row, attempt) + after  # a reference has no letter to be encoded

        return parameter
