"""What became of everybody in a session of killing: all its broadcasts together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from truth import the_truth

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deployment import Deployment
    from kill_kinds import Point


@dataclass(slots=True)
class Session:
    """What became of a few points on one deployment."""

    points: Sequence[Point]
    struck: list[Point] = field(default_factory=list)
    timed: list[Point] = field(default_factory=list)
    recipients: int = 0
    accepted: int = 0
    twice: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    alarms: int = 0
    crashed: int = 0
    seconds: float = 0.0
    error: str = ""

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return not (self.twice or self.lost or self.wrong or self.alarms or self.crashed or self.error)

    async def tell(self, run: Deployment, sent: Mapping[str, int]) -> None:
        """Compare the records of these broadcasts with what the simulator accepted."""
        strangers: set[str] | None = None
        twice: dict[str, str] = {}
        for bid, total in sent.items():
            truth = await the_truth(run, bid, total)
            # to each of them the others' recipients are strangers
            others = {line for line in truth.lost if "has no record" in line}
            strangers = others if strangers is None else strangers & others
            self.lost += [line for line in truth.lost if line not in others]
            self.wrong += truth.wrong
            for line in truth.twice:
                to = line.partition(" ")[0]
                twice[to] = twice.get(to, line) if "no record" in line else line
            self.recipients += total
        self.lost += sorted(strangers or ())
        self.twice += twice.values()
        self.accepted = (await run.simulator.counts())["accepted"]
        logs = run.logs()
        self.alarms = logs.count('"duplicate.caused"')
        self.crashed += logs.count("\nTraceback (most")
