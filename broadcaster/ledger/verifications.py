"""Starts of verifications under an idempotency key: written down before Twilio is asked, kept for a day.

No address, payment or code is kept: the answer goes without whom and what it is about, which a repeated
request names again, and what was asked for is a keyed digest. What else Twilio told stays for that day: the
carrier (`lookup`), and the address that a phone is to call (`sna`), without which a repeated start is of no
use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from broadcaster.store.scripts import Call


@dataclass(frozen=True, slots=True)
class Begun:
    """Whether a start may go to Twilio: `word` is one of verification.lua's.

    `answer` is what Twilio said before, `wait_seconds` how long another request may still take, `at` the unix
    second at which one began of which nobody knows what came.
    """

    word: str
    answer: bytes = b""
    wait_seconds: float = 0.0
    at: int = 0


def begin(nonce: str, token: str, asked: str, *, seconds: float) -> Call[Begun]:
    """Write down that `token` asks Twilio now, and knows in `seconds` what came of it."""
    return Call("verification", ("begin", nonce, token, asked, int(seconds)), _begun, lasting=True)


def finish(nonce: str, token: str, answer: bytes) -> Call[str]:
    """Keep what Twilio answered."""
    return Call("verification", ("end", nonce, token, answer, 0), _word)


def doubt(nonce: str, token: str) -> Call[str]:
    """Note that Twilio may have taken it: nobody begins again under this key."""
    return Call("verification", ("doubt", nonce, token, "", 0), _word)


def drop(nonce: str, token: str) -> Call[str]:
    """Forget a start that Twilio has not taken for sure: the key is free."""
    return Call("verification", ("drop", nonce, token, "", 0), _word)


def _word(reply: list[Any]) -> str:
    return str(reply[0].decode())


def _begun(reply: list[Any]) -> Begun:
    match [reply[0].decode(), *reply[1:]]:
        case ["kept", bytes(answer)]:
            return Begun("kept", answer)
        case ["running", int(milliseconds)]:
            return Begun("running", wait_seconds=milliseconds / 1000)
        case ["doubt", int(at)]:
            return Begun("doubt", at=at)
    return Begun(_word(reply))
