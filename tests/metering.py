"""What is wrong with a text of metrics, held against the catalogue."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from prometheus_client.parser import text_string_to_metric_families

from broadcaster.store.scripts import script_names
from broadcaster.telemetry.metric import Kind, Role
from broadcaster.telemetry.metrics import shown_by
from broadcaster.telemetry.senders import AT_MOST
from broadcaster.twilio.codes import CODES

if TYPE_CHECKING:
    from collections.abc import Collection

    from broadcaster.telemetry.metric import Metric

#: What those labels take whose values the catalogue tells in words.
CODE: Final = re.compile(rf"other|no_answer|not_sent|http_[1-5]\d\d|{'|'.join(map(str, CODES))}")
OPERATION: Final = re.compile("|".join(script_names()))
STATUS: Final = re.compile(r"[1-5]\d\d")
VERSION: Final = re.compile(r"\d+\.\d+[\w.+]*")


def families(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Return samples by their names."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def counted(text: str, sample: str, label: str) -> dict[str, int]:
    """Return what was counted at all, by one label, or under "" where there is none."""
    found: Counter[str] = Counter()
    for labels, value in families(text)[sample]:
        found[labels.get(label, "")] += int(value)
    return {value: n for value, n in found.items() if n}


def faults(
    text: str, role: Role | None, *, senders: Collection[str] = (), routes: Collection[str] = ()
) -> list[str]:
    """Return all in which a process's text differs from what the catalogue says of its role."""
    ours = {one.family: one for one in shown_by(role)}
    found: list[str] = []
    shown = set()
    lines = text.splitlines()
    for family in text_string_to_metric_families(text):
        if family.name.startswith("process_"):
            continue
        # the parser takes an info for a gauge whose name ends in `_info`
        metric = ours.get(family.name) or ours.get(family.name.removesuffix("_info"))
        if metric is None:
            found.append(f"{family.name} is none of this role's")
            continue
        shown.add(metric.family)
        name = f"{metric.name}_info" if metric.kind is Kind.INFO else metric.name
        kind = "gauge" if metric.kind is Kind.INFO else metric.kind.value
        if f"# TYPE {name} {kind}" not in lines or f"# HELP {name} {_escaped(metric.meaning)}" not in lines:
            found.append(f"{name} has no TYPE or HELP as it should")
        for sample in family.samples:
            if sample.name not in metric.samples:
                found.append(f"{sample.name} is none of {metric.name}'s samples")
            labels = {label: value for label, value in sample.labels.items() if label != "le"}
            found += _wrong_labels(metric, labels, senders, routes)
        if len({sample.labels.get("sender") for sample in family.samples}) > AT_MOST + 1:
            found.append(f"{metric.name} has too many senders")
    return found + [f"{name} is missing" for name in ours.keys() - shown]


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\")


def _wrong_labels(
    metric: Metric, labels: dict[str, str], senders: Collection[str], routes: Collection[str]
) -> list[str]:
    if labels.keys() != metric.labels.keys():
        return [f"{metric.name} has labels {sorted(labels)}"]
    found = []
    for label, value in labels.items():
        known = metric.labels[label]
        pattern = {"code": CODE, "operation": OPERATION, "status": STATUS}.get(label, VERSION)
        if isinstance(known, tuple):
            right = value in known
        elif label in ("sender", "route"):
            right = value in {*senders, *routes, "other"}
        else:
            right = pattern.fullmatch(value) is not None
        if not right:
            found.append(f"{metric.name} has {label}={value!r}")
    return found
