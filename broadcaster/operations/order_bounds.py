"""How long the parts of an order may be: looked at before each of their entries is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broadcaster.operations.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Recipients that an order in JSON may name.
INLINE_MOST: Final = 10_000
#: Faults of an order's shape that are told; who has more sees these first.
FAULTS_TOLD: Final = 100
_FIELDS_MOST: Final = 100
_ENTRIES_MOST: Final = {
    "recipients": INLINE_MOST, "options": 100, "content_variables": 100, "from": 1000, "media_urls": 1000,
}  # fmt: skip


def too_long(given: Mapping[str, Any]) -> Iterable[Fault]:
    """Yield what is far too long to be looked at: a fault for each of a million entries takes minutes."""
    if len(given) > _FIELDS_MOST:
        yield Fault(f"an order has {_FIELDS_MOST} fields at most, not {len(given):,}")
    for name, most in _ENTRIES_MOST.items():
        value = given.get(name)
        if isinstance(value, list | dict) and len(value) > most:
            yield Fault(f"has {most:,} entries at most, not {len(value):,}", f"/{name}")
