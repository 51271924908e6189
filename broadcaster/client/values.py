"""What the API answers, as values. `raw` holds the whole object, with fields newer than this client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Broadcast:
    """A broadcast now. `counts` by state add up to `total`; times are unix seconds, None if not yet.

    `rate` is accepted segments a second, `eta` seconds until the last has left, None while it waits;
    `waits_for` says in words what each sender waits for.
    """

    id: str
    name: str
    state: str
    state_reason: str | None
    total: int
    counts: dict[str, int]
    senders: tuple[str, ...]
    waits_for: dict[str, str]
    rate: float | None
    eta: float | None
    created_at: int
    started_at: int | None
    finished_at: int | None
    raw: dict[str, Any] = field(repr=False, compare=False)
    removed_at: int | None = None

    @classmethod
    def of(cls, raw: dict[str, Any]) -> Broadcast:
        """Read the API's object."""
        return cls(
            id=raw["id"],
            name=raw["name"],
            state=raw["state"],
            state_reason=raw.get("state_reason"),
            total=raw["total"],
            counts=raw["counts"],
            senders=tuple(raw["senders"]),
            waits_for=raw.get("waits_for", {}),
            rate=raw.get("rate"),
            eta=raw.get("eta"),
            created_at=raw["created_at"],
            started_at=raw.get("started_at"),
            finished_at=raw.get("finished_at"),
            raw=raw,
            removed_at=raw.get("removed_at"),
        )


@dataclass(frozen=True)
class Message:
    """One recipient's send. `code` is why it failed or waits; `history` its attempts, where asked for.

    `about` is what the code is about: `recipient`, `sender`, `content`, ….
    """

    id: str
    to: str
    state: str
    reference: str | None = None
    sender: str | None = None
    code: int | None = None
    meaning: str | None = None
    about: str | None = None
    sid: str | None = None
    attempts: int = 0
    history: tuple[dict[str, Any], ...] = ()
    raw: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, raw: dict[str, Any]) -> Message:
        """Read the API's object."""
        return cls(
            id=raw["id"],
            to=raw["to"],
            state=raw["state"],
            reference=raw.get("reference"),
            sender=raw.get("sender"),
            code=raw.get("code"),
            meaning=raw.get("meaning"),
            about=raw.get("class"),
            sid=raw.get("sid"),
            attempts=raw.get("attempts", 0),
            history=tuple(raw.get("history", ())),
            raw=raw,
        )


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some of a list, and the cursor of what follows; None at its end."""

    data: tuple[T, ...]
    next: str | None


@dataclass(frozen=True)
class Sender:
    """A sender now: `paused`, `held` (goes on by itself), `sending` or `idle`; `rate`: segments a second."""

    name: str
    kind: str
    rate: float | None
    state: str
    state_reason: str | None
    broadcasts: int
    raw: dict[str, Any] = field(repr=False, compare=False)

    @classmethod
    def of(cls, raw: dict[str, Any]) -> Sender:
        """Read the API's object."""
        return cls(
            name=raw["name"],
            kind=raw["kind"],
            rate=raw.get("rate"),
            state=raw["state"],
            state_reason=raw.get("state_reason"),
            broadcasts=raw["broadcasts"],
            raw=raw,
        )


@dataclass(frozen=True)
class OptOut:
    """Somebody who must not be written to; `sender` is `*` for every sender, `since` a unix time.

    `purpose` is None where it is about every one.
    """

    address: str
    sender: str
    purpose: str | None
    since: int | None
    source: str | None
    raw: dict[str, Any] = field(repr=False, compare=False)

    @classmethod
    def of(cls, raw: dict[str, Any]) -> OptOut:
        """Read the API's object."""
        return cls(
            raw["address"], raw["sender"], raw.get("purpose"), raw.get("since"), raw.get("source"), raw
        )


@dataclass(frozen=True)
class Change:
    """An entry of the audit: who did what to which target, when (unix seconds), old → new."""

    id: str
    at: float
    who: str
    where: str
    what: str
    target: str
    old: Any
    new: Any
    raw: dict[str, Any] = field(repr=False, compare=False)

    @classmethod
    def of(cls, raw: dict[str, Any]) -> Change:
        """Read the API's object."""
        return cls(
            id=raw["id"],
            at=raw["at"],
            who=raw["who"],
            where=raw["where"],
            what=raw["what"],
            target=raw["target"],
            old=raw.get("old"),
            new=raw.get("new"),
            raw=raw,
        )


@dataclass(frozen=True)
class Worker:
    """A worker process: `live`, `draining` or `lost`. `version` is None for one that told none."""

    id: str
    host: str
    version: str | None
    state: str
    raw: dict[str, Any] = field(repr=False, compare=False)

    @classmethod
    def of(cls, raw: dict[str, Any]) -> Worker:
        """Read the API's object."""
        return cls(raw["id"], raw["host"], raw.get("version"), raw["state"], raw)
