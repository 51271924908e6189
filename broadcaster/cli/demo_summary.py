"""What came of the demo: our counts, the simulator's own truth beside them, and whether they agree."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from broadcaster.domain.record import State
from broadcaster.twilio.codes import meaning

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console

    from broadcaster.reporting.broadcasts import BroadcastView

#: What a message that Twilio took can be, with what is said of it.
_TAKEN: Final = {
    State.ACCEPTED: "nothing was heard of them since",
    State.SENT: "handed to a carrier that gives no receipt",
    State.DELIVERED: "delivered to the phone",
    State.READ: "delivered, and read (WhatsApp)",
    State.UNDELIVERED: "",
    State.FAILED: "",
}
#: How messages end, which Twilio's callbacks have told.
_ENDS: Final = (State.SENT, State.DELIVERED, State.READ, State.UNDELIVERED, State.FAILED)


@dataclass(frozen=True, slots=True)
class SenderTruth:
    """What the simulator saw of one sender: its requests, and the most of them within any one second."""

    name: str
    pace: float
    requests: int
    fullest_second: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The demo in numbers: `twilio` is the simulator's `counts`, `rejected` the rows that got no record.

    `ends` are the simulator's messages by the status in which they ended.
    """

    rows: int
    rejected: int
    views: tuple[BroadcastView, ...]
    twilio: Mapping[str, Any]
    ends: Mapping[str, int]
    senders: tuple[SenderTruth, ...]
    seconds: float

    def count(self, state: State) -> int:
        """Return how many recipients are in a state, over all broadcasts."""
        return sum(view.counts.get(state, 0) for view in self.views)

    def codes(self, state: State) -> dict[int, int]:
        """Return code to count of a state, over all broadcasts, the most frequent first."""
        found: dict[int, int] = {}
        for entry in (entry for view in self.views for entry in view.codes if entry.state is state):
            found[entry.code] = found.get(entry.code, 0) + entry.count
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    @property
    def accepted(self) -> int:
        """How many Twilio took, whatever became of them since."""
        return sum(self.count(state) for state in _TAKEN)

    @property
    def retried(self) -> int:
        """Further tries that answers asked for."""
        return sum(view.retried for view in self.views)

    @property
    def rate(self) -> float:
        """Messages a second that Twilio accepted."""
        return self.accepted / self.seconds if self.seconds else 0.0

    def faults(self) -> list[str]:
        """Return a sentence for whatever does not add up; nothing if all does."""
        found = [
            f"{view.name}: its states add up to {sum(view.counts.values()):,}, its total is {view.total:,}"
            for view in self.views
            if sum(view.counts.values()) != view.total
        ]
        waiting = sum(self.count(state) for state in (State.QUEUED, State.SENDING, State.RETRY))
        if waiting:
            found.append(f"{waiting:,} recipients still wait")
        records = sum(view.total for view in self.views)
        if records + self.rejected != self.rows:
            found.append(
                f"{records:,} recipients and {self.rejected:,} rejected rows are not {self.rows:,} rows"
            )
        if self.twilio["copies"]:
            found.append(f"Twilio was given {self.twilio['copies']:,} messages twice")
        least, has = self.accepted, self.twilio["distinct"]
        if not least <= has <= least + self.count(State.IN_DOUBT):
            found.append(f"we count {least:,} accepted messages, Twilio has {has:,}")
        for state in _ENDS:
            if self.count(state) != self.ends.get(state.label, 0):
                ended = self.ends.get(state.label, 0)
                found.append(f"we count {self.count(state):,} {state.label} messages, Twilio {ended:,}")
        return found

    def as_json(self) -> dict[str, Any]:
        """Return the object of `demo --json`."""
        return {
            "ok": not self.faults(),
            "faults": self.faults(),
            "rows": self.rows,
            "rejected": self.rejected,
            "total": sum(view.total for view in self.views),
            "counts": {state.label: self.count(state) for state in State},
            "accepted": self.accepted,
            "failed": _explained(self.codes(State.DEAD)),
            "skipped": _explained(self.codes(State.SKIPPED)),
            "in_doubt": self.count(State.IN_DOUBT),
            "retried": self.retried,
            "seconds": round(self.seconds, 2),
            "rate": round(self.rate, 1),
            "twilio": {name: self.twilio[name] for name in ("requests", "accepted", "distinct")}
            | {"duplicates": self.twilio["copies"]},
            "senders": [asdict(sender) for sender in self.senders],
            "broadcasts": [view.summary() for view in self.views],
        }


def show(verdict: Verdict, console: Console, *, rejects: Sequence[str]) -> None:
    """Print the summary table and what it means."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right", style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style="dim")
    doubt = verdict.count(State.IN_DOUBT)
    _row(table, verdict.accepted, "accepted", "by Twilio", "green")
    for state, note in _TAKEN.items():
        if note and verdict.count(state):
            _row(table, verdict.count(state), f"  {state.label}", note, "")
    for state in (State.UNDELIVERED, State.FAILED):
        _rows(table, f"  {state.label}", verdict.codes(state), "")
    _rows(table, "refused", verdict.codes(State.DEAD), "red")
    _rows(table, "skipped", verdict.codes(State.SKIPPED), "")
    _row(table, doubt, "in doubt", "a 503, or a connection that broke: may have been sent", "magenta")
    _row(
        table,
        verdict.rejected,
        "rejected",
        "rows that name no recipient; they and why: " + ", ".join(rejects),
        "yellow",
    )
    _row(table, verdict.rows, "rows", "in the lists", "bold")
    table.add_row()
    _row(table, verdict.retried, "retried", "answers that asked for another try: 429, a full queue", "")
    table.add_row(f"{verdict.seconds:,.1f} s", "", f"{verdict.rate:,.0f} accepted messages a second")
    console.print()
    console.print(table)
    console.print()
    _show_pace(verdict, console)
    _show_truth(verdict, console, doubt)


def _show_pace(verdict: Verdict, console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("sender")
    for title in ("pace", "requests", "most in any second"):
        table.add_column(title, justify="right")
    for sender in verdict.senders:
        pace, most = f"{sender.pace:,.1f}/s", f"{sender.fullest_second:,}"
        table.add_row(sender.name, pace, f"{sender.requests:,}", most)
    console.print(table)
    console.print()


def _show_truth(verdict: Verdict, console: Console, doubt: int) -> None:
    truth = verdict.twilio
    console.print(
        f"The simulated Twilio has {truth['distinct']:,} recipients with a message, "
        f"{truth['copies']:,} with two."
    )
    if doubt:
        extra = truth["distinct"] - verdict.accepted
        console.print(
            f"Of the {doubt:,} in doubt it has {extra:,}, but no answer told us which. They are not guessed "
            "and not sent twice: a worker looks for evidence in Twilio's list once a minute has passed."
        )
    faults = verdict.faults()
    if faults:
        console.print(Text("This does not add up: " + "; ".join(faults) + ".", "bold red"))
    else:
        console.print(Text("Everything adds up, and nobody was messaged twice.", "bold green"))


def _rows(table: Table, label: str, codes: Mapping[int, int], style: str) -> None:
    for code, count in codes.items():
        known = str(code) if code >= 100 else ""  # noqa: PLR2004 - below are our own reasons
        _row(table, count, f"{label} {known}".rstrip(), meaning(code), style)


def _row(table: Table, count: int, label: str, note: str, style: str) -> None:
    table.add_row(f"{count:,}", Text(label, style), note)


def _explained(codes: Mapping[int, int]) -> list[dict[str, Any]]:
    entries: Iterable[tuple[int, int]] = codes.items()
    return [{"code": code, "count": count, "meaning": meaning(code)} for code, count in entries]
