"""What can go wrong with a call.

ClientError
├── ApiError      the API answered with a problem (RFC 9457); `may_be_done` says whether it may have acted
├── NotReached    no answer came, also after asking again with the same Idempotency-Key
└── NotTheApi     something answered that is not this API
"""

from __future__ import annotations

from typing import Any


class ClientError(Exception):
    """The root of all that a call can raise."""


class NotReached(ClientError):  # noqa: N818 - reads as what it says
    """No answer came, or not all of it. Where it `may_be_done`, ask again with the same Idempotency-Key.

    `nothing_sent`: nobody was there to be asked. `key` is the Idempotency-Key, None where none was sent.
    """

    def __init__(
        self, message: str, *, nothing_sent: bool = False, may_be_done: bool = True, key: str | None = None
    ) -> None:
        super().__init__(message)
        self.nothing_sent = nothing_sent
        self.may_be_done = may_be_done
        self.key = key


class NotTheApi(ClientError):  # noqa: N818
    """An answer that this API does not give: the address leads somewhere else."""


class ApiError(ClientError):
    """A problem. `errors` has every fault: its `detail`, and a JSON `pointer` or a `line` of the list.

    `kind` is the problem's type without its path: `invalid`, `conflict`, `not-found`, `rate-limited` …
    """

    def __init__(
        self, status: int, problem: dict[str, Any], retry_after_seconds: float | None = None
    ) -> None:
        self.status = status
        self.problem = problem
        self.kind = str(problem.get("type", "")).rpartition("/")[2]
        self.title = str(problem.get("title", ""))
        self.detail = str(problem.get("detail", ""))
        self.errors: list[dict[str, Any]] = list(problem.get("errors", ()))
        self.retry_after_seconds = retry_after_seconds
        super().__init__("\n".join([f"{self.title or status}: {self.detail}", *map(_line, self.errors)]))

    @property
    def may_be_done(self) -> bool:
        """Whether what was asked may have been done all the same."""
        return self.status >= 500  # noqa: PLR2004 - HTTP


def _line(fault: dict[str, Any]) -> str:
    where = fault.get("pointer") or fault.get("parameter") or ""
    if "line" in fault:
        where = f"line {fault['line']}" + (f", {fault['column']}" if fault.get("column") else "")
    value = f" {fault['value']!r}" if fault.get("value") else ""
    return f"  {where}:{value} {fault.get('detail', '')}" if where else f"  {fault.get('detail', '')}"
