"""Budgets are kept or missed by their rows; every sentence of the design has a row that a bench writes."""

from __future__ import annotations

import subprocess
import sys

import pytest
from benching.budgets import Budget, budgets, judged
from benching.figures import Rows, ratio, together
from benching.registry import BENCHES, Bench, missing_in_words, registry
from measured import Report, Row, number

ALL = budgets(BENCHES / "budgets.toml")
#: What the design's table of budgets names, and how many figures each line has.
DESIGN = {
    "whole send path": 6,  # its five, and one peer looked at more strictly
    "the same with TLS": 2,
    "at 400 in flight, 100 ms answers": 1,
    "reading a CSV into batches": 2,
    "POST /v1/messages": 2,
    "status callbacks": 1,
    "Redis memory": 6,
    "pace": 2,
    "growth": 3,
    "crash": 1,
    "control": 4,
    "cold start": 1,
}


def row(name: str, *samples: float) -> Row:
    return Row(name, name, "messages/s", samples)


def rows(*some: Row, **not_run: str) -> Rows:
    return together([Report("a", some)], not_run)


def test_a_figure_is_the_median_of_its_samples() -> None:
    assert row("a", 5.0, 1.0, 3.0).median == 3.0
    assert row("a", 5.0, 1.0, 3.0).spread == (1.0, 5.0)


def test_a_ratio_is_the_median_of_the_pairs_that_took_turns() -> None:
    seen = ratio(row("ours", 10.0, 30.0, 20.0), row("loop", 20.0, 40.0, 80.0))
    assert (seen.least, seen.median, seen.most) == (0.25, 0.5, 0.75)


def test_without_pairs_a_ratio_is_that_of_the_medians() -> None:
    seen = ratio(row("ours", 10.0, 20.0, 30.0), row("loop", 40.0, 50.0))
    assert seen.median == 20 / 45
    assert (seen.least, seen.most) == (10 / 50, 30 / 40)


def test_a_ratio_to_nothing_is_endless_and_no_crash() -> None:
    assert ratio(row("ours", 10.0), row("too short", 0.0)).median == float("inf")
    assert number(float("inf")) == "inf"


@pytest.mark.parametrize(
    ("samples", "kept", "word"),
    [((99.0, 110.0, 120.0), True, "kept"), ((80.0, 75.0, 200.0), False, "**missed** by 20%")],
)
def test_a_median_keeps_or_misses_its_bound(samples: tuple[float, ...], kept: bool, word: str) -> None:  # noqa: FBT001
    verdict = judged(Budget("speed", "fast", "a", "messages/s", least=100), rows(row("a", *samples)))
    assert (verdict.kept, verdict.word) == (kept, word)


def test_the_worst_decides_where_every_sample_has_to_keep_it() -> None:
    strict = Budget("control", "soon", "a", "ms", most=1000, every=True)
    assert judged(strict, rows(row("a", 20.0, 30.0, 1500.0))).word == "**missed** by 50%"
    assert judged(strict, rows(row("a", 20.0, 30.0, 1000.0))).kept


def test_a_ratio_is_held_to_both_bounds() -> None:
    flat = Budget("growth", "flat", "many", "x", over="few", least=0.9, most=1.1)
    assert judged(flat, rows(row("many", 105.0), row("few", 100.0))).kept
    assert judged(flat, rows(row("many", 120.0), row("few", 100.0))).kept is False
    assert judged(flat, rows(row("many", 80.0), row("few", 100.0))).kept is False


def test_what_was_not_measured_says_why() -> None:
    wanted = Budget("speed", "fast", "api.messages", "requests/s", least=100)
    seen = judged(wanted, rows(**{"api.": "wrk missing here", "send.": "something else"}))
    assert (seen.kept, seen.word) == (None, "not run: wrk missing here")
    without_go = Report("peers", (row("api.messages", 5.0),), not_run={"peer.asynq": "Go is missing here"})
    over = Budget("speed", "1.1 x", "api.messages", "x", over="peer.asynq", least=1.1)
    assert judged(over, together([without_go], {})).word == "not run: Go is missing here"


def test_a_budget_has_a_bound() -> None:
    with pytest.raises(ValueError, match="least or most"):
        Budget("speed", "fast", "a", "messages/s")


def test_every_sentence_of_the_design_has_a_budget() -> None:
    found: dict[str, int] = {}
    for budget in ALL:
        found[budget.what] = found.get(budget.what, 0) + 1
    assert found == DESIGN
    assert len({(budget.row, budget.over) for budget in ALL}) == len(ALL)


def test_every_budget_has_a_bench_that_writes_its_rows() -> None:
    beginnings = tuple(name for bench in registry() for name in bench.rows)
    asked = {name for budget in ALL for name in (budget.row, budget.over, *budget.beside) if name}
    assert sorted(name for name in asked if not name.startswith(beginnings)) == []


def test_names_of_benches_are_not_given_twice() -> None:
    names = [bench.name for bench in registry()]
    assert len(set(names)) == len(names)


def test_every_bench_is_there() -> None:
    assert [bench.script for bench in registry() if not bench.path.is_file()] == []


@pytest.mark.slow
@pytest.mark.parametrize("bench", registry(), ids=lambda bench: bench.name)
def test_every_bench_takes_what_the_frame_tells_it(bench: Bench) -> None:
    told = subprocess.run(
        [sys.executable, bench.path, "--help"], capture_output=True, text=True, timeout=30, check=True
    ).stdout
    given = {*bench.full, *bench.quick, *(bench.long or ()), "--json"}
    assert [word for word in given if word.startswith("--") and word not in told] == []


def test_a_size_has_its_arguments_and_minutes() -> None:
    bench = Bench("a", "a.py", "a", ("a.",), minutes=2, full=("--some",), long=("--many",), long_minutes=9)
    assert [bench.arguments(size) for size in ("quick", "full", "long")] == [
        ("--quick",),
        ("--some",),
        ("--many",),
    ]
    assert [bench.expected_minutes(size) for size in ("full", "long")] == [2, 9]
    hour = Bench("b", "b.py", "b", ("b.",), only_long=True, long=("--minutes", "60"), long_minutes=61)
    assert (hour.arguments("full"), hour.expected_minutes("full")) == (None, 0.0)


def test_what_is_missing_is_named_with_its_package() -> None:
    told = missing_in_words(("nginx", "node"))
    assert told == "nginx and node missing here (Debian: apt install nginx-light nodejs)"


@pytest.mark.parametrize(
    ("value", "text"), [(15234.4, "15,234"), (999.0, "999"), (0.5512, "0.551"), (66.04, "66"), (0, "0")]
)
def test_figures_are_short(value: float, text: str) -> None:
    assert number(value) == text
