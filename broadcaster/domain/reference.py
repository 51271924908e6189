"""The reference that a message's status callback carries in its URL: which message, which attempt, and whose.

`BROADCAST.LANE.BATCH.INDEX.ATTEMPT.MAC`: nothing of the person is in it. The MAC is BLAKE2b with a key (RFC
7693, 2.5), of 8 bytes, as URL-safe base64 without padding (RFC 4648, 5): 11 letters. What stands before the
index is the same for a whole batch and hashed once; one message costs about 1.5 µs.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from hashlib import blake2b
from hmac import compare_digest
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MAC_BYTES: Final = 8
_KEY_BYTES: Final = 32
#: So that a key that signs something else, too, signs no reference with it.
_PERSON: Final = b"bc-reference"
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_read: Final = re.compile(
    rb"((\w{1,40})\.(\d{1,9}\.\d{1,9})\.(\d{1,9})\.(\d{1,5}))\.([\w-]{11})", re.ASCII
).fullmatch


class Reference(NamedTuple):
    """One attempt of one message; `batch` is `LANE.BATCH`."""

    broadcast: str
    batch: str
    row: int
    attempt: int


class References:
    """Makes and reads references. `keys`: the signing keys, the newest first, which signs; all are accepted.

    Raises ValueError without a key.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise ValueError("references need a signing key")
        self._keyed = [_keyed(key) for key in keys]

    def of_batch(self, broadcast: str, batch: str) -> Callable[[int, int], bytes]:
        """Return what makes the reference of a batch's message from its index and attempt."""
        prefix = f"{broadcast}.{batch}.".encode()
        keyed = self._keyed[0].copy()
        keyed.update(prefix)

        def reference(row: int, attempt: int) -> bytes:
            tail = b"%d.%d" % (row, attempt)
            mac = keyed.copy()
            mac.update(tail)
            return prefix + tail + b"." + _letters(mac)

        return reference

    def make(self, reference: Reference) -> str:
        """Return the text of one."""
        return self.of_batch(reference.broadcast, reference.batch)(reference.row, reference.attempt).decode()

    def read(self, text: bytes) -> Reference | None:
        """Return what a text stands for; None for one that none of our keys has signed."""
        found = _read(text)
        if found is None:
            return None
        signed, broadcast, batch, row, attempt, shown = found.groups()
        for keyed in self._keyed:
            mac = keyed.copy()
            mac.update(signed)
            if compare_digest(_letters(mac), shown):
                return Reference(broadcast.decode(), batch.decode(), int(row), int(attempt))
        return None


def _letters(mac: blake2b) -> bytes:
    # what base64.urlsafe_b64encode does in three calls more
    return b2a_base64(mac.digest(), newline=False).translate(_URL_SAFE, b"=")


def _keyed(key: str) -> blake2b:
    # a key of any length becomes one of the length that BLAKE2b takes
    whole = blake2b(key.encode(), digest_size=_KEY_BYTES).digest()
    return blake2b(key=whole, digest_size=_MAC_BYTES, person=_PERSON)
