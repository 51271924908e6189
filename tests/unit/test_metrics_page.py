"""The reference page is what the catalogue says, and Prometheus' own tool has nothing against the text."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from broadcaster.telemetry.catalog import CATALOG
from broadcaster.telemetry.metric import Kind
from broadcaster.telemetry.metrics import Metrics
from broadcaster.telemetry.page import text

PAGE = Path(__file__).parents[2] / "deploy" / "metrics.md"


def test_the_page_is_as_the_catalogue_has_it() -> None:
    said = "python -m broadcaster.telemetry.page > deploy/metrics.md"
    assert PAGE.read_text(encoding="utf-8") == text(), said


def test_every_metric_has_its_place_on_the_page() -> None:
    lines = text().splitlines()
    for metric in CATALOG.values():
        name = f"{metric.name}_info" if metric.kind is Kind.INFO else metric.name
        assert lines.count(f"### `{name}`") == 1
        for label in metric.labels:
            assert any(line.startswith(f"- `{label}`: ") for line in lines)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_nothing() -> None:
    metrics = Metrics()
    metrics.sent("+14155550100", "sms", {"accepted": 3}, segments=3, durations=[0.1])
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=metrics.text(), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
