"""One person: all that is known of them, and forgetting them."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import httpx

from broadcaster.client.asking import Asking

#: Forgetting ends when Redis' files are written anew.
_LONG: Final = httpx.Timeout(30.0, read=900.0)


class PeopleCalls(Asking):
    """What can be done with one person."""

    def recipient(self, number: str) -> dict[str, Any]:
        """Return all that is known of a person: `messages`, `replies`, `opt_outs`, `rejected` rows.

        `waiting` counts callbacks and events on their way that name them.
        """
        found: dict[str, Any] = self.json("GET", _at(number))
        return found

    def forget(self, number: str, *, at_twilio: bool = False) -> dict[str, Any]:
        """Forget a person everywhere, with `at_twilio` there too; return what it came to.

        `again` says why it should be done once more, `remains` what is out of reach. Twice changes nothing.
        """
        wanted = {"at_twilio": "true"} if at_twilio else {}
        done: dict[str, Any] = self.json("DELETE", _at(number), params=wanted, timeout=_LONG)
        return done


def _at(number: str) -> str:
    return f"/v1/recipients/{quote(number, safe='')}"
