"""Cursors: where a page ends, signed, so that only what we gave out comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from itsdangerous import BadSignature, URLSafeSerializer

from broadcaster.api.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE_MOST: Final = 500
PAGE_USUAL: Final = 50


class Cursors:
    """Makes and reads cursors. `keys`: the signing keys, the newest first; all are accepted."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._serializer = URLSafeSerializer(list(reversed(keys)), salt="cursor")

    def make(self, kind: str, position: Any) -> str:
        """Return an opaque text for a position (JSON's types) in a list of this kind."""
        return str(self._serializer.dumps([kind, position]))

    def read(self, kind: str, cursor: str | None) -> Any:
        """Return the position, None without a cursor. Raises `Problem` for one that is not ours."""
        if not cursor:
            return None
        try:
            found, position = self._serializer.loads(cursor)
        except (BadSignature, ValueError, TypeError):
            found = position = None
        if found != kind:
            detail = "This cursor is none of ours, or of another list: take `next` of the page before."
            raise Problem("invalid", detail, errors=[{"detail": detail, "parameter": "cursor"}])
        return position
