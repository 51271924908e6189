"""What a run of `make bench` did, as `run.json` keeps it beside the reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from benching.figures import Rows, together
from measured import Report, read

if TYPE_CHECKING:
    from pathlib import Path


class Step(msgspec.Struct, frozen=True):
    """One bench: how it was run, when (UTC), for how long, and why it has no report or not a whole one."""

    name: str
    what: str
    rows: tuple[str, ...]
    command: str = ""
    began: str = ""
    seconds: float = 0.0
    why_not: str = ""


class Run(msgspec.Struct, frozen=True):
    """All steps of a run, in order; `size` is quick, full or long."""

    size: str
    began: str
    machine: dict[str, str]
    steps: tuple[Step, ...] = ()


class Folder:
    """Where a run leaves what it found: `run.json`, `reports/`, `logs/`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("reports", "logs"):
            (path / name).mkdir(parents=True, exist_ok=True)

    def report_path(self, step: str) -> Path:
        """Return where a bench writes its report."""
        return self.path / "reports" / f"{step}.json"

    def log_path(self, step: str) -> Path:
        """Return where what a bench printed is kept."""
        return self.path / "logs" / f"{step}.txt"

    def forget(self, step: str) -> None:
        """Remove what an earlier run left of a bench."""
        self.report_path(step).unlink(missing_ok=True)
        self.log_path(step).unlink(missing_ok=True)

    def write(self, run: Run) -> None:
        """Write down what was done so far."""
        (self.path / "run.json").write_bytes(msgspec.json.format(msgspec.json.encode(run)) + b"\n")

    def run(self) -> Run | None:
        """Return what the last run wrote down; None if there was none. Raises `msgspec.ValidationError`."""
        path = self.path / "run.json"
        return msgspec.json.decode(path.read_bytes(), type=Run) if path.exists() else None

    def reports(self, run: Run) -> dict[str, Report]:
        """Return the reports that there are, by the names of their steps."""
        paths = {step.name: self.report_path(step.name) for step in run.steps}
        return {name: read(path) for name, path in paths.items() if path.exists()}

    def rows(self, run: Run) -> Rows:
        """Return all rows, with the reason for those that are not there."""
        reports = self.reports(run)
        not_run = {
            beginning: step.why_not or "its bench did not write it"
            for step in run.steps
            for beginning in step.rows
        }
        return together(reports.values(), not_run)
