"""The rules of deploy/prometheus, their promtool tests and the runbook, as data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from promql import labels_of

FOLDER: Final = Path(__file__).parents[1] / "deploy" / "prometheus"
#: Ten times as fast where it was built with libyaml.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
RUNBOOK: Final = FOLDER.parent / "runbook.md"
#: Those that others are made of come first.
RULE_FILES: Final = (
    "recording.yml",
    "slo.yml",
    "alerts.yml",
    "alerts_recipients.yml",
    "alerts_redis.yml",
    "alerts_processes.yml",
)


@dataclass(frozen=True, slots=True)
class Alert:
    """An alerting rule. `window` tells rules of one name apart."""

    name: str
    expr: str
    wait: str
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def window(self) -> str:
        return self.labels.get("window", "")

    @property
    def thresholds(self) -> set[str]:
        """What its expression compares with, but for 0 and 1, which only tell yes from no."""
        found = re.findall(r"(?:[<>]=?|==)\s*([\d.]+)(?:\s*\*\s*([\d.]+))?", self.expr)
        return {number for pair in found for number in pair if number} - {"0", "1"}


def read(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)  # noqa: S506 - a safe one


@cache
def rules() -> tuple[Any, ...]:
    """Return every rule, in the order of files and groups."""
    groups = [group for name in RULE_FILES for group in read(FOLDER / "rules" / name)["groups"]]
    return tuple(rule for group in groups for rule in group["rules"])


@cache
def alerts() -> tuple[Alert, ...]:
    return tuple(
        Alert(rule["alert"], rule["expr"], rule["for"], rule["labels"], rule["annotations"])
        for rule in rules()
        if "alert" in rule
    )


@cache
def recorded() -> dict[str, frozenset[str]]:
    """Return the labels of each recorded metric. Raises ValueError where an expression means nothing."""
    known: dict[str, frozenset[str]] = {}
    for rule in rules():
        if "record" in rule:
            labels = labels_of(rule["expr"], known)
            known[rule["record"]] = frozenset() if labels is None else labels
    return known


@cache
def cases() -> tuple[Any, ...]:
    """Return every case of the promtool tests: what is fed in, and what is expected when."""
    return tuple(case for path in sorted((FOLDER / "tests").glob("*.yml")) for case in read(path)["tests"])


@cache
def entries() -> dict[str, str]:
    """Return the runbook's entries: an alert's name, and what stands under it."""
    _, *found = re.split(r"^## ", RUNBOOK.read_text(encoding="utf-8"), flags=re.MULTILINE)
    parts = [entry.partition("\n") for entry in found]
    return {name: text for name, _, text in parts}
