"""What makes two submissions the same: one digest over content, senders, list and options."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from broadcaster.domain.content import Content

#: Fields of a content that came later than others: left out where they say nothing.
_ADDED: Final = ("languages", "language_column", "fallback", "sms")


def fingerprint(
    content: Content, senders: Iterable[str], list_digest: str, options: Mapping[str, Any] | None = None
) -> str:
    """Return the SHA-256 in hex of all that decides who gets what from whom.

    `list_digest` is the reader's `digest()` after its last row. `options` are further choices that
    make it another broadcast, such as region, to_column, priority or schedule_at; None values count
    as not given. The order of senders, options and content variables does not matter.
    """
    given = {name: value for name, value in (options or {}).items() if value is not None}
    said = msgspec.to_builtins(content)
    for name in _ADDED:  # so that a key that the version before took is known to this one
        if not said[name]:
            del said[name]
    whole = [said, sorted(set(senders)), list_digest, given]
    return hashlib.sha256(msgspec.json.encode(whole, order="deterministic")).hexdigest()
