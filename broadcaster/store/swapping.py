"""One stored value changed for another, only where it is still what was seen."""

from __future__ import annotations

import hashlib

from broadcaster.store.scripts import Call


def swap(name: str, place: str | int, seen: bytes, new: bytes) -> Call[bool]:
    """Change a list's member (`place`: its index), a hash's field, or a string (`place` ""); False: not done.

    `name` is the key without the installation's prefix; b"" removes a field or a string.
    """
    digest = hashlib.sha1(seen).hexdigest()  # noqa: S324 - Redis' scripts have no other
    return Call("swap", (name, place, digest, new), bool)
