"""The tables of a run, in Markdown: the budgets, the peers, and all rows by bench."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benching.figures import CPU, Figure, figure, ratio
from measured import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benching.budgets import Verdict
    from benching.figures import Rows
    from benching.run_record import Run
    from measured import Report, Row

PEER = "peer."
OURS = "peer.ours"
#: Ends of peers' ids: they are compared with ours of the same kind.
TLS, FIRST = ".tls", ".first"


class Commands:
    """The commands of a table's rows, numbered in the order in which they are met."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, command: str) -> str:
        """Return a command's number; nothing for none."""
        return str(self._numbers.setdefault(command, len(self._numbers) + 1)) if command else ""

    def listed(self) -> str:
        """Return the numbered list."""
        return "\n".join(f"{number}. `{command}`" for command, number in self._numbers.items())


def commands_by_row(run: Run, reports: dict[str, Report]) -> dict[str, str]:
    """Return the command that measures a row again: its own, or its bench's."""
    by_step = {step.name: step.command for step in run.steps}
    return {row.id: row.command or by_step[name] for name, report in reports.items() for row in report.rows}


def budget_table(verdicts: Sequence[Verdict], rows: Rows, commands: dict[str, str]) -> str:
    """Return a line for each budget: what was seen and whether that keeps it."""
    numbered = Commands()
    lines = []
    for verdict in verdicts:
        budget = verdict.budget
        sentence = f"{budget.sentence} (a guide)" if budget.guide else budget.sentence
        seen = f"{_shown(verdict.seen)} {budget.unit}" if verdict.seen else ""
        cpu = "" if budget.over else _cpu(rows, budget.row)
        lines.append(
            (
                budget.what,
                sentence,
                seen,
                _spread(verdict.seen),
                cpu,
                verdict.word,
                _measured(rows, verdict),
                numbered.number(commands.get(budget.row, "")),
            )
        )
    head = ("what", "budget", "seen (median)", "spread", "CPU", "verdict", "measured", "command")
    return f"{_table(head, lines)}\n\n{numbered.listed()}\n"


def peer_table(rows: Rows) -> str:
    """Return a line for each peer, and ours compared with it in the same rounds; nothing without peers."""
    named = {name: row for name, row in rows.measured.items() if name.startswith(PEER) and _is_rate(name)}
    absent = {name: why for name, why in rows.not_run.items() if name.startswith(PEER) and name != PEER}
    lines: list[tuple[str, ...]] = []
    for name, row in sorted(named.items(), key=lambda item: (_kind(item[0]), item[1].median)):
        ours = rows.measured.get(OURS + _kind(name))
        times = f"{_shown(ratio(ours, row))} x" if ours and ours is not row else ""
        cpu = _cpu_to_ours(rows, name, ours)
        lines.append(
            (row.what, number(row.median), _spread(figure(row)), times, _cpu(rows, name), cpu, row.note)
        )
    lines += [(name.removeprefix(PEER), *[""] * 5, f"not run: {why}") for name, why in absent.items()]
    head = ("peer", "messages/s", "spread", "ours is", "CPU", "its CPU to ours", "note")
    return f"{_table(head, lines)}\n" if lines else ""


def _kind(name: str) -> str:
    """Return the end of a peer's id that says with which of ours it is compared."""
    return next((end for end in (FIRST, TLS) if name.endswith(end)), "")


def bench_table(report: Report, rows: Rows, of_step: str) -> str:
    """Return all rows of one bench; a row's own command is told where it is not the bench's."""
    lines = [
        (
            f"`{row.id}`",
            row.what,
            f"{number(row.median)} {row.unit}",
            _spread(figure(row)),
            str(len(row.samples)),
            _cpu(rows, row.id),
            _note(row, of_step),
        )
        for row in report.rows
        if row.samples and not (row.id.endswith(CPU) and row.id.removesuffix(CPU) in rows.measured)
    ]
    lines += [(f"`{name}`", "", "", "", "", "", f"not run: {why}") for name, why in report.not_run.items()]
    return f"{_table(('row', 'what', 'seen (median)', 'spread', 'repeats', 'CPU', 'note'), lines)}\n"


def _note(row: Row, of_step: str) -> str:
    own = f"`{row.command}`" if row.command and row.command != of_step else ""
    return "; ".join(filter(None, (row.note, own)))


def _cpu_to_ours(rows: Rows, name: str, ours: Row | None) -> str:
    spent = rows.measured.get(name + CPU)
    mine = rows.measured.get(ours.id + CPU) if ours and ours.id != name else None
    return f"{_shown(ratio(spent, mine))} x" if spent and mine else ""


def _is_rate(name: str) -> bool:
    return not name.endswith(CPU)


def _cpu(rows: Rows, row_id: str) -> str:
    row = rows.measured.get(row_id + CPU)
    return f"{number(row.median)} {row.unit}" if row else ""


def _measured(rows: Rows, verdict: Verdict) -> str:
    """Return what a budget's row is of, and its ratio to the rows beside it."""
    budget = verdict.budget
    row = rows.measured.get(budget.row)
    if row is None or verdict.seen is None:
        return ""
    over = [f"over {rows.measured[budget.over].what}"] if budget.over else []
    return "; ".join([row.what, *over, *(_beside(rows, budget.row, other) for other in budget.beside)])


def _beside(rows: Rows, row_id: str, other: str) -> str:
    if row_id not in rows.measured or other not in rows.measured:
        return f"{other}: not run"
    over = rows.measured[other]
    return f"{_shown(ratio(rows.measured[row_id], over))} x {over.what}"


def _shown(seen: Figure) -> str:
    return number(seen.median)


def _spread(seen: Figure | None) -> str:
    if seen is None or seen.least == seen.most:
        return ""
    return f"{number(seen.least)} to {number(seen.most)}"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table; a bar inside a cell would end it, so it is written as an entity."""
    shown = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in shown)
