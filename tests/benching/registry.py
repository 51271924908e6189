"""The benches that `make bench` runs: `tests/bench/registry.toml`."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import Final

import msgspec

BENCHES: Final = Path(__file__).parents[1] / "bench"
#: A quick run takes less than 20 s by itself; starting and ending are beside.
_QUICK_MINUTES: Final = 0.4
#: A program that a bench may need, and the Debian package that has it.
PACKAGES: Final = {
    "nginx": "nginx-light",
    "openssl": "openssl",
    "wrk": "wrk",
    "node": "nodejs",
    "npm": "npm",
    "go": "golang-go",
    "taskset": "util-linux",
}


class Bench(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A program of `tests/bench` with its arguments for the full run, for `--quick` and for `--long`.

    `rows` are the beginnings of the ids of the rows that it writes, `needs` the programs without which it
    can't run. Without `long` a long run is a full one; what is `only_long` has no full one.
    """

    name: str
    script: str
    what: str
    rows: tuple[str, ...]
    minutes: float = 1.0
    full: tuple[str, ...] = ()
    quick: tuple[str, ...] = ("--quick",)
    long: tuple[str, ...] | None = None
    long_minutes: float = 0.0
    only_long: bool = False
    needs: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The program."""
        return BENCHES / self.script

    def arguments(self, size: str) -> tuple[str, ...] | None:
        """Return the arguments of a `quick`, `full` or `long` run; None if it has no full one."""
        if size == "quick":
            return self.quick
        if size == "long":
            return self.full if self.long is None else self.long
        return None if self.only_long else self.full

    def expected_minutes(self, size: str) -> float:
        """Return about how long a run of that size takes."""
        if self.arguments(size) is None:
            return 0.0
        if size == "quick":
            return _QUICK_MINUTES
        return self.long_minutes or self.minutes if size == "long" else self.minutes

    def missing(self) -> tuple[str, ...]:
        """Return the programs that it needs and this machine hasn't."""
        return tuple(name for name in self.needs if shutil.which(name) is None)


def registry(path: Path = BENCHES / "registry.toml") -> tuple[Bench, ...]:
    """Read the list, in the order of running. Raises `msgspec.ValidationError` for what is no bench."""
    return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8"))["bench"], tuple[Bench, ...])


def missing_in_words(missing: tuple[str, ...]) -> str:
    """Say what is missing and which Debian packages have it."""
    packages = " ".join(PACKAGES.get(name, name) for name in missing)
    return f"{' and '.join(missing)} missing here (Debian: apt install {packages})"
