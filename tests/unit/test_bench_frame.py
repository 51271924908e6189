"""`make bench` from given reports: the table, what is not run, progress; and the frame run as a program."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from bench import everything
from benching.budgets import Budget, judged
from benching.figures import together
from benching.page import text
from benching.plots import by_plot, short, slug, titled, wants_log
from benching.registry import BENCHES, Bench
from benching.run_record import Folder, Run, Step
from benching.steps import in_words, step
from benching.table import bench_table, budget_table, commands_by_row, peer_table
from measured import Report, Row, Series, write

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = Row("send.plain", "whole send path", "messages/s", (14_000.0, 15_000.0, 16_000.0))
CPU = Row("send.plain.cpu", "whole send path", "CPU-µs/message", (60.0, 61.0, 62.0))
LOOP = Row("loop.plain", "bare loop", "messages/s", (25_000.0, 25_000.0, 25_000.0), "python loop.py")
LINE = Series("lanes", "ours", "lanes", "messages/s", (1.0, 1000.0), (15_000.0, 14_000.0))
SEND = Report("send_path", (PLAIN, CPU, LOOP), (LINE,), {"load average": "0.1"})
PEERS = Report(
    "peers",
    (
        Row("peer.ours", "ours", "messages/s", (15_000.0, 14_000.0)),
        Row("peer.ours.cpu", "ours", "CPU-µs/message", (60.0, 85.0)),
        Row("peer.bullmq", "BullMQ", "messages/s", (5_000.0, 7_000.0)),
        Row("peer.bullmq.cpu", "BullMQ", "CPU-µs/message", (180.0, 170.0)),
        Row("peer.ours.first", "ours, from the first", "messages/s", (12_000.0, 12_000.0)),
        Row("peer.bullmq.first", "BullMQ, from the first", "messages/s", (4_000.0, 4_000.0)),
    ),
    not_run={"peer.asynq": "Go is missing here"},
)
STEPS = (
    Step("send_path", "the send path", ("send.", "loop."), "python tests/bench/send_path.py", "now", 400.0),
    Step("peers", "the peers", ("peer.",), "python tests/bench/beside_peers.py", "now", 300.0),
    Step("api", "the API", ("api.",), why_not="wrk missing here"),
)
RUN = Run("full", "now", {"cores": "2 of some kind"}, STEPS)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "out")
    write(SEND, made.report_path("send_path"))
    write(PEERS, made.report_path("peers"))
    made.write(RUN)
    return made


def test_a_run_is_read_as_it_was_written(folder: Folder) -> None:
    assert folder.run() == RUN
    assert folder.reports(RUN) == {"send_path": SEND, "peers": PEERS}


def test_a_budget_has_its_figure_spread_cpu_verdict_and_command(folder: Folder) -> None:
    rows = folder.rows(RUN)
    some = [
        Budget("send", "15,000", "send.plain", "messages/s", least=14_500),
        Budget("send", "0.7 of the loop", "send.plain", "x", over="loop.plain", least=0.7),
        Budget("API", "3,000/s", "api.messages", "requests/s", least=3_000),
    ]
    commands = commands_by_row(RUN, folder.reports(RUN))
    verdicts = [judged(budget, rows) for budget in some]
    _, _, kept, missed, absent, *rest = budget_table(verdicts, rows, commands).splitlines()
    assert kept.startswith("| send | 15,000 | 15,000 messages/s | 14,000 to 16,000 | 61 CPU-µs/message |")
    assert kept.endswith("| kept | whole send path | 1 |")
    assert "| 0.6 x | 0.56 to 0.64 |  | **missed** by 14% | whole send path; over bare loop | 1 |" in missed
    assert "| not run: wrk missing here |" in absent
    assert "1. `python tests/bench/send_path.py`" in rest


def test_peers_are_ordered_and_ours_is_told_as_a_ratio_of_the_rounds(folder: Folder) -> None:
    lines = peer_table(folder.rows(RUN)).splitlines()[2:]
    assert lines[0].startswith("| BullMQ | 6,000 | 5,000 to 7,000 | 2.5 x | 175 CPU-µs/message | 2.5 x |")
    assert lines[1].startswith("| ours | 14,500 |")
    assert lines[2].startswith("| BullMQ, from the first | 4,000 |  | 3 x |")
    assert lines[3].startswith("| ours, from the first | 12,000 |  |  |")
    assert lines[4] == "| asynq |  |  |  |  |  | not run: Go is missing here |"


def test_without_peers_there_is_no_table_of_them() -> None:
    assert peer_table(together([SEND], {"peer.": "nginx missing here"})) == ""


def test_a_benchs_rows_have_their_cpu_beside_them_and_their_own_command() -> None:
    lines = bench_table(SEND, together([SEND], {}), "python send_path.py").splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| `send.plain`", "| `loop.plain`"]
    assert "61 CPU-µs/message" in lines[2]
    assert lines[3].endswith("| `python loop.py` |")


def test_the_page_says_what_was_not_run_and_links_the_plots(folder: Folder) -> None:
    page = text(folder, RUN, ["plots/peers.png"])
    assert "![peers](plots/peers.png)" in page
    assert "**Not run or not whole:** wrk missing here." in page
    assert "- load average: 0.1" in page


def test_lines_of_one_plot_share_their_axes() -> None:
    other = Series("lanes", "Redis", "lanes", "CPU-µs/message", (1.0,), (20.0,))
    empty = Series("lanes", "nothing", "lanes", "messages/s", (), ())
    assert [len(lines) for lines in by_plot([LINE, other, LINE, empty]).values()] == [2, 1]


def test_axes_are_logarithmic_where_values_are_far_apart() -> None:
    assert wants_log([1, 10_000])
    assert not wants_log([0, 10_000])
    assert not wants_log([14_000, 15_000])


def test_plots_have_short_ticks_titles_and_file_names() -> None:
    assert [short(value) for value in (16, 10_000, 2_500_000)] == ["16", "10k", "2.5M"]
    assert titled("lanes", "messages/s") == "Throughput: lanes"
    assert titled("CPU per message against lanes", "CPU-µs/message") == "CPU per message against lanes"
    assert slug("Twilio's answer, ms") == "twilio-s-answer-ms"


def test_durations_are_short() -> None:
    assert [in_words(minutes) for minutes in (0.5, 12.4)] == ["30 s", "12 min"]


def bench(tmp_path: Path, program: str, **more: object) -> Bench:
    (tmp_path / "one.py").write_text(program)
    return Bench("one", str(tmp_path / "one.py"), "one", ("one.",), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("program", "why_not"),
    [
        ("print('fine')", "it wrote no report"),
        ("raise SystemExit('no such thing')", "it failed: no such thing"),
    ],
)
def test_a_bench_that_fails_is_told_and_ends_nothing(
    tmp_path: Path, folder: Folder, capsys: pytest.CaptureFixture[str], program: str, why_not: str
) -> None:
    done = step(bench(tmp_path, program), "quick", folder)
    assert done.why_not == why_not
    logged = folder.log_path("one").read_text().splitlines(keepends=True)
    assert capsys.readouterr().out == "".join(f"    {line}" for line in logged)


def test_a_bench_that_cannot_run_says_what_is_missing(tmp_path: Path, folder: Folder) -> None:
    assert step(bench(tmp_path, "", needs=("no-such-program",)), "full", folder).why_not.startswith(
        "no-such-program missing here"
    )
    assert step(bench(tmp_path, "", only_long=True), "full", folder).why_not == "only with --long"
    assert step(Bench("b", "no_such.py", "b", ("b.",)), "full", folder).why_not == "there is no no_such.py"


BENCH = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from measured import Report, Row, write
ours = Row("send.plain", "ours", "messages/s", ({seen},))
loop = Row("loop.plain", "loop", "messages/s", (25e3,))
write(Report("one", (ours, loop)), Path(sys.argv[-1]))
"""
REGISTRY = """
[[bench]]
name = "one"
script = {script!r}
what = "one bench"
rows = ["send."]
quick = []
"""


@pytest.mark.parametrize(("seen", "code"), [(14_000.0, 0), (1.0, 1)])
def test_everything_measures_tells_and_checks(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    seen: float,
    code: int,
) -> None:
    monkeypatch.setattr(everything, "machine", dict)
    script = tmp_path / "one.py"
    script.write_text(BENCH.format(tests=str(BENCHES.parent), seen=seen))
    (tmp_path / "registry.toml").write_text(REGISTRY.format(script=str(script)))
    out = tmp_path / "out"
    words = ["--quick", "--registry", str(tmp_path / "registry.toml"), "--out", str(out), "--check"]
    monkeypatch.setattr(sys, "argv", ["everything.py", *words])
    assert everything.main() == code
    told = capsys.readouterr().out
    assert "[1/1] one: one bench; 24 s left" in told
    assert f"budgets: {1 - code} kept, {1 + code} missed" in told
    assert "`send.plain`" in (out / "table.md").read_text()
    steps = json.loads((out / "run.json").read_text())["steps"]
    assert [(one["name"], one["why_not"]) for one in steps] == [("one", "")]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_quick_run_of_all_benches_measures_each_of_them(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, BENCHES / "everything.py", "--quick", "--out", out], timeout=880, check=False
    )
    assert done.returncode == 0
    run = Folder(out).run()
    assert run is not None
    failed = {one.name: one.why_not for one in run.steps if one.why_not}
    assert {name: why for name, why in failed.items() if "missing here" not in why} == {}
