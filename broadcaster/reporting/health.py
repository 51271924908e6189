"""What `doctor` finds: one check a line, with what it means and what to do about it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


class Level(enum.StrEnum):
    """How bad it is: `fail` keeps messages from being sent, or our promises from being kept."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: what was looked at, what is so and what that means, and what to do unless all is well."""

    name: str
    level: Level
    found: str
    advice: str = ""


def ok(name: str, found: str) -> Check:
    """Return a finding that asks for nothing."""
    return Check(name, Level.OK, found)


def warn(name: str, found: str, advice: str) -> Check:
    """Return a finding that one can live with."""
    return Check(name, Level.WARN, found, advice)


def fail(name: str, found: str, advice: str) -> Check:
    """Return a finding that has to be put right."""
    return Check(name, Level.FAIL, found, advice)


def healthy(checks: Iterable[Check]) -> bool:
    """Tell whether nothing has failed."""
    return all(check.level is not Level.FAIL for check in checks)


def as_json(checks: Iterable[Check]) -> dict[str, Any]:
    """Return the object of `doctor --json`."""
    checks = tuple(checks)
    return {
        "ok": healthy(checks),
        "checks": [
            {"name": c.name, "level": c.level.value, "found": c.found, "advice": c.advice or None}
            for c in checks
        ],
    }


def skew(name: str, seconds: float, *, exact_to: float) -> Check:
    """Judge how far another clock is ahead of ours; `exact_to` is how well that can be known, in seconds."""
    off = abs(seconds)
    if off <= exact_to + 1.0:
        return ok(
            name, f"within {max(off, exact_to):.1g} s of ours" if off > exact_to else "agrees with ours"
        )
    found = (
        f"{off:,.1f} s {'ahead of' if seconds > 0 else 'behind'} ours: times in records and schedules are off"
    )
    advice = "Let this machine's clock be set by NTP (timedatectl set-ntp true), and the other's too."
    return (fail if off > SKEW_FAILS_SECONDS else warn)(name, found, advice)


#: Beyond a minute, messages leave at another time than was asked for, and evidence is not found by its date.
SKEW_FAILS_SECONDS = 60.0
