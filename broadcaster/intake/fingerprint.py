"""What makes two submissions the same: one digest over content, senders, list and options."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from broadcaster.domain.content import Content


def fingerprint(
    content: Content, senders: Iterable[str], list_digest: str, options: Mapping[str, Any] | None = None
) -> str:
    """Return the SHA-256 in hex of all that decides who gets what from whom.

    `list_digest` is the reader's `digest()` after its last row. `options` are further choices that
    make it another broadcast, such as region, to_column, priority or schedule_at; None values count
    as not given. The order of senders, options and content variables does not matter.
    """
    given = {name: value for name, value in (options or {}).items() if value is not None}
    whole = [msgspec.to_builtins(content), sorted(set(senders)), list_digest, given]
    return hashlib.sha256(msgspec.json.encode(whole, order="deterministic")).hexdigest()
