"""A reading as Prometheus' text: names, kinds and meanings are the catalogue's."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from broadcaster.telemetry.installation_metrics import INSTALLATION
from broadcaster.telemetry.metric import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from broadcaster.telemetry.metric import Metric

_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_PLAIN: Final = re.compile(r"[\w+:]*")
Value = float | int | bool


class Page:
    """Lines of an answer. A value that is None is not known, and left out."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def one(self, name: str, value: Value | None) -> None:
        """Show a metric without labels."""
        if value is not None:
            full = self._head(name)
            self._lines.append(f"{full} {_number(value)}")

    def by(self, name: str, label: str, values: Mapping[str, Value] | Iterable[tuple[str, Value]]) -> None:
        """Show a metric with one label."""
        full = self._head(name)
        pairs = values.items() if hasattr(values, "items") else values
        self._lines += [f'{full}{{{label}="{_text(key)}"}} {_number(value)}' for key, value in pairs]

    def many(self, name: str, samples: Iterable[tuple[Mapping[str, str], Value]]) -> None:
        """Show a metric with several labels."""
        full = self._head(name)
        for labels, value in samples:
            told = ",".join([f'{key}="{_text(text)}"' for key, text in labels.items()])
            self._lines.append(f"{full}{{{told}}} {_number(value)}")

    def text(self) -> bytes:
        """Return it all."""
        return ("\n".join(self._lines) + "\n").encode()

    def _head(self, name: str) -> str:
        full, head = _HEADS[name]
        self._lines.append(head)
        return full


def _head_of(metric: Metric) -> tuple[str, str]:
    full = f"{metric.name}_info" if metric.kind is Kind.INFO else metric.name
    kind = Kind.GAUGE if metric.kind is Kind.INFO else metric.kind
    return full, f"# HELP {full} {metric.meaning}\n# TYPE {full} {kind}"


_HEADS: Final = {metric.name.removeprefix("broadcaster_"): _head_of(metric) for metric in INSTALLATION}


def _number(value: Value) -> str:
    if type(value) is int:
        return str(value)
    return repr(int(value)) if value == int(value) else repr(round(value, 6))


@lru_cache(maxsize=4096)  # the same senders and broadcasts stand in many families
def _text(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else value.translate(_ESCAPES)
