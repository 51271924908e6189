"""What a log line may show: no number whole, no secret, no text of a message.

Works on values, not on call sites, so that what a library logs or an exception carries is covered too. What
is no text is taken apart (containers, structs, dataclasses) so that keys tell what may be shown; the rest is
shown as its masked `repr`.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from typing import TYPE_CHECKING, Any, Final

from broadcaster.telemetry.known_secrets import KnownSecrets
from broadcaster.telemetry.spotting import HIDDEN, is_dropped, shortened, without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["HIDDEN", "Masking", "is_dropped"]

#: Longer texts are cut: an exception may carry a whole answer. So are long and deep containers.
_LONGEST: Final = 16_384
_MOST: Final = 500
_DEEPEST: Final = 8
_KEYS_KEPT: Final = 2_000
_SHORT_KEY: Final = 100
_BIGGEST: Final = 1 << 63
#: Integers this size are numbers or times; times and sizes have a unit at the end of their name.
_LEAST_NUMBER: Final = 10**9
_PAST_NUMBERS: Final = 10**15
_UNITS: Final = (
    *("_at", "_ms", "_us", "_ns", "_seconds", "_bytes", "_total", "_count", "_epoch", "_id", "timestamp"),
    "_until",
)
#: Names that we make ourselves, where a line itself has them (what is inside of something may be a caller's); a
#: host called ip-10-0-12-200 has as many digits as a number.
_NAMES: Final = frozenset({"worker", "host", "broadcast", "batch", "instance"})
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
#: Event names, states, levels: no digit and nothing that could be a key with a value.
_HARMLESS: Final = re.compile(r"[A-Za-z_.]*")
_TORN: Final = re.compile(r"[\d\s().+%-]{1,60}\Z")


class Masking:
    """The masking of one process; `secrets` are texts that it knows and that must never appear."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = KnownSecrets(secrets)
        self._names: dict[str, str] = {}

    def text(self, text: str) -> str:
        """Return `text` with secrets, message texts and the middle of every number hidden."""
        length = len(text)
        if length > _LONGEST:
            text = text[: _LONGEST + 2 * self._secrets.longest]
        text = self._secrets.hide(text, HIDDEN)
        if length <= _LONGEST and _HARMLESS.fullmatch(text):
            return text
        if length > _LONGEST:
            text = without_secrets(_TORN.sub("", text[:_LONGEST]))
            return f"{text}… ({length} characters)"
        return without_secrets(text)

    def value(self, value: Any, key: str = "", depth: int = 0) -> Any:
        """Return what may be logged of `value`: JSON's types only. Never raises, but for want of memory."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            if depth == 1 and key in _NAMES and _NAME.fullmatch(value):
                return self._secrets.hide(value, HIDDEN)
            return self.text(str(value))
        if isinstance(value, int | float):
            return _number(value, key)
        return self._taken_apart(value, key, depth)

    def _taken_apart(self, value: Any, key: str, depth: int) -> Any:
        if isinstance(value, bytes | bytearray | memoryview):
            return f"<{len(value)} bytes>"
        if depth >= _DEEPEST:
            return "…"
        if isinstance(value, dict):
            return self.mapping(value, depth)
        if (fields := _fields(value)) is not None:
            return {"type": type(value).__name__, **self.mapping(fields, depth)}
        if isinstance(value, list | tuple | set | frozenset):
            return self._items(value, key, depth)
        return self.text(_repr(value))

    def mapping(self, mapping: Mapping[Any, Any], depth: int = 0) -> dict[str, Any]:
        """Return `mapping` without what must not be logged; keys are masked too (counts by number)."""
        shown: dict[str, Any] = {}
        for place, (key, value) in enumerate(mapping.items()):
            if place >= _MOST:
                shown["…"] = f"{len(mapping) - _MOST} more"
                break
            name = key if isinstance(key, str) else _repr(key)
            as_shown = self._names.get(name)
            if as_shown is None:
                as_shown = self._name(name)
            if as_shown:
                shown[as_shown] = self.value(value, name, depth + 1)
        return shown

    def _name(self, name: str) -> str:
        """Return a key as it is shown, "" for one that is not; a process has few, and each is kept."""
        as_shown = "" if is_dropped(name) else self.text(name)
        if len(self._names) < _KEYS_KEPT and len(name) <= _SHORT_KEY:
            self._names[name] = as_shown
        return as_shown

    def _items(self, items: Any, key: str, depth: int) -> list[Any]:
        some = [item for _, item in zip(range(_MOST), items, strict=False)]
        if len(some) > 1 and all(isinstance(item, str) and len(item) == 1 for item in some):
            return [self.text("".join(some))]  # a text taken apart
        more = len(items) - len(some)
        return [self.value(item, key, depth + 1) for item in some] + ([f"… {more} more"] if more else [])


def _number(value: float, key: str) -> Any:
    size = abs(value)
    if _LEAST_NUMBER <= size < _PAST_NUMBERS and size == int(size) and not key.lower().endswith(_UNITS):
        return shortened(str(int(value)))
    if isinstance(value, int) and size >= _BIGGEST:
        return f"<{value.bit_length()} bits>"
    return value


def _fields(value: Any) -> dict[str, Any] | None:
    """Return the fields of what shows them all in its `repr`; None of what has its own, or has none."""
    kind = type(value)
    if isinstance(value, enum.Enum):
        return {"name": value.name}
    if (names := getattr(kind, "__struct_fields__", None)) and _is_generated(kind, "msgspec"):
        return {name: getattr(value, name, None) for name in names}
    if dataclasses.is_dataclass(value) and kind.__dataclass_params__.repr:
        return {one.name: getattr(value, one.name, None) for one in dataclasses.fields(value) if one.repr}
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return dict(zip(kind._fields, value, strict=False))
    return None


def _is_generated(kind: type, module: str) -> bool:
    return all("__repr__" not in vars(one) or one.__module__.startswith(module) for one in kind.__mro__[:-1])


def _repr(value: object) -> str:
    try:
        return repr(value)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - whatever its class does, the line must be written
        return f"<{type(value).__name__}>"
