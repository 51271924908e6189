"""The plots of a run: a PNG for every plot that the reports' series name, and one of the peers.

Needs matplotlib (`pip install '.[bench]'`); nothing else here does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from benching.figures import CPU
from benching.table import OURS, PEER, TLS
from measured import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from benching.figures import Rows
    from measured import Report, Row, Series

#: From this ratio of the largest to the least on, an axis is logarithmic.
_LOG_FROM: Final = 30.0
#: Peers that are drawn as lines into plots of ours: enough to compare with, few enough to read. In CPU time
#: only near ones: an axis that needn't be logarithmic shows what is flat.
_LINES: Final = {
    "messages/s": ("peer.bullmq", "peer.loop.pyreqwest", "peer.celery"),
    "CPU-µs/message": ("peer.bullmq.cpu", "peer.loop.pyreqwest.cpu"),
}
_COLOURS: Final = ("#1b6ca8", "#d1495b", "#2a9d6f", "#8e5ea2", "#e08e0b", "#4a4e69", "#00a6a6", "#b56576")
_OURS, _OTHERS, _QUIET = "#1b6ca8", "#b8bfc8", "#6b7280"
#: A figure in inches, and dots an inch: readable at a README's width.
_SIZE: Final = (8.0, 4.5)
_DPI: Final = 110

#: A plot's title and the names of its axes.
Plot = tuple[str, str, str]


def drawn(reports: Iterable[Report], rows: Rows, folder: Path) -> list[Path]:
    """Draw all there is to draw; return the files. Raises `ModuleNotFoundError` without matplotlib."""
    folder.mkdir(parents=True, exist_ok=True)
    plots = by_plot(series for report in reports for series in report.series)
    files = [_peer_bars(rows, folder / "peers.png")] if len(_peers(rows)) > 1 else []
    names = [title for title, _, _ in plots]
    for (title, x_name, y_name), lines in plots.items():
        name = title if names.count(title) == 1 else f"{title} {y_name}"
        files.append(_plot((title, x_name, y_name), lines, rows, folder / f"{slug(name)}.png"))
    return files


def by_plot(series: Iterable[Series]) -> dict[Plot, list[Series]]:
    """Return the lines of each plot; lines with other axes are another plot."""
    plots: dict[Plot, list[Series]] = {}
    for line in series:
        if line.x:
            plots.setdefault((line.plot, line.x_name, line.y_name), []).append(line)
    return plots


def slug(name: str) -> str:
    """Return a plot's name as a file's."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def titled(plot: str, y_name: str) -> str:
    """Return a plot's title: its name, which says what is shown if it is longer than the x axis' name."""
    if len(plot.split()) <= 2 and y_name.startswith("messages/s"):
        return f"Throughput: {plot}"
    return plot[:1].upper() + plot[1:]


def wants_log(values: Sequence[float]) -> bool:
    """Whether values are so far apart that only a logarithmic axis shows all of them."""
    return min(values) > 0 and max(values) / min(values) >= _LOG_FROM


def short(value: float) -> str:
    """Return a tick's label: 10k, 2.5M."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"


def _figure() -> tuple[Any, Any, Any]:
    import matplotlib as mpl  # noqa: PLC0415 - only who draws needs it

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=_SIZE, dpi=_DPI, layout="constrained")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, which="major", color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    return plt, figure, axes


def _plot(plot: Plot, lines: Sequence[Series], rows: Rows, path: Path) -> Path:
    plt, figure, axes = _figure()
    title, x_name, y_name = plot
    for line, colour in zip(lines, _COLOURS * len(lines), strict=False):
        axes.plot(line.x, line.y, marker="o", markersize=5, linewidth=2, color=colour, label=line.label)
    heights = _peer_lines(axes, x_name, y_name, rows)
    wide = sorted({x for line in lines for x in line.x})
    _x_axis(axes, wide)
    _y_axis(axes, [y for line in lines for y in line.y] + heights)
    axes.set(xlabel=x_name, ylabel=y_name)
    axes.set_title(titled(title, y_name), loc="left", fontweight="bold")
    if len(lines) > 1 or lines[0].label or heights:
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.savefig(path)
    plt.close(figure)
    return path


def _x_axis(axes: Any, values: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator  # noqa: PLC0415

    if wants_log(values):
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    if len(values) <= 10:
        axes.set_xticks(values)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def _y_axis(axes: Any, values: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter  # noqa: PLC0415

    if wants_log(values):
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(bottom=min(0.0, *values), top=max(values) * 1.12 or 1.0)  # flat is to look flat
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def _peer_lines(axes: Any, x_name: str, y_name: str, rows: Rows) -> list[float]:
    """Draw peers as horizontal lines where they can be compared; return their heights."""
    names = _LINES.get(y_name.replace("CPU µs", "CPU-µs"), ())
    if not x_name.startswith(("recipients", "lanes")):
        return []
    heights = []
    for name, style in zip(names, ("--", "-.", ":"), strict=False):
        row = rows.measured.get(name)
        if row is not None:
            axes.axhline(row.median, color=_QUIET, linestyle=style, linewidth=1.2, label=row.what)
            heights.append(row.median)
    return heights


def _peers(rows: Rows) -> list[tuple[str, Row]]:
    named = [
        (name, row)
        for name, row in rows.measured.items()
        if name.startswith(PEER) and not name.endswith((CPU, TLS))
    ]
    return sorted(named, key=lambda item: item[1].median)


def _peer_bars(rows: Rows, path: Path) -> Path:
    """Draw messages a second and CPU time a message, ours among the peers, on logarithmic axes."""
    plt, figure, rates = _figure()
    plt.close(figure)
    figure, (rates, costs) = plt.subplots(
        1, 2, figsize=(10, 4.5), dpi=_DPI, layout="constrained", sharey=True
    )
    peers = _peers(rows)
    cpu = [rows.measured.get(name + CPU) for name, _ in peers]
    _bars(rates, peers, [row.median for _, row in peers], "messages/s (more is better)")
    _bars(
        costs,
        peers,
        [row.median if row else 0.0 for row in cpu],
        "CPU-µs/message of the sender's core (less is better)",
    )
    figure.suptitle("Beside the peers, one core for the sender", x=0.01, ha="left", fontweight="bold")
    figure.savefig(path)
    plt.close(figure)
    return path


def _bars(axes: Any, peers: Sequence[tuple[str, Row]], values: Sequence[float], name: str) -> None:
    from matplotlib.ticker import FuncFormatter  # noqa: PLC0415

    colours = [_OURS if peer == OURS else _OTHERS for peer, _ in peers]
    bars = axes.barh([row.what for _, row in peers], values, color=colours)
    axes.bar_label(bars, [number(value) if value else "not seen" for value in values], padding=4, fontsize=9)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    positive = [value for value in values if value]
    axes.set_xlim(min(positive, default=1) / 2, max(positive, default=1) * 3)
    axes.set_xlabel(name)
    axes.spines[["top", "right"]].set_visible(False)
