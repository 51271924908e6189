"""Errors as problem details (RFC 9457): one shape for every answer that is no success."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field
from http import HTTPStatus
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from fastapi import Response

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MEDIA_TYPE: Final = "application/problem+json"


class Kind(NamedTuple):
    """A kind of problem: its HTTP status, its title, what it means and what to do."""

    status: int
    title: str
    meaning: str


def _read_kinds() -> dict[str, Kind]:
    text = (resources.files("broadcaster.api") / "problems.toml").read_text(encoding="utf-8")
    return {
        slug: Kind(entry["status"], entry["title"], entry["meaning"].replace("\n", " "))
        for slug, entry in tomllib.loads(text).items()
    }


PROBLEMS: Final = _read_kinds()
_BY_STATUS: Final = {
    400: "bad-request", 401: "unauthorized", 403: "forbidden", 404: "not-found", 405: "method-not-allowed",
    408: "too-slow", 409: "conflict", 413: "too-large", 415: "unsupported-media-type", 422: "invalid",
    429: "rate-limited", 431: "headers-too-large", 502: "twilio-failed", 503: "unavailable",
}  # fmt: skip


@dataclass
class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """An answer that is no success. `errors` are {"detail", "pointer" or "line"}; `more` joins the body."""

    slug: str
    detail: str = ""
    errors: Sequence[Mapping[str, Any]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return PROBLEMS[self.slug].status

    def body(self) -> dict[str, Any]:
        """Return the object of RFC 9457, section 3."""
        status, title, meaning = PROBLEMS[self.slug]
        body: dict[str, Any] = {
            "type": f"/problems/{self.slug}",
            "title": title,
            "status": status,
            "detail": self.detail or meaning,
            **self.more,
        }
        if self.errors:
            body["errors"] = [dict(error) for error in self.errors]
        return body

    def response(self) -> Response:
        """Return it as an answer."""
        return Response(
            msgspec.json.encode(self.body()), self.status, headers=dict(self.headers), media_type=MEDIA_TYPE
        )


def of_status(status: int, detail: str = "", headers: Mapping[str, str] | None = None) -> Problem:
    """Return the problem that stands for a bare HTTP status."""
    slug = _BY_STATUS.get(status, "internal" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "bad-request")
    phrase = HTTPStatus(status).phrase
    return Problem(slug, "" if detail == phrase else detail, headers=headers or {})


def retry_after(seconds: float) -> dict[str, str]:
    """Return the header that says when to ask again: whole seconds, at least one (RFC 9110, 10.2.3)."""
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def unavailable(detail: str = "") -> Problem:
    """Return what to say while Redis can't be asked."""
    return Problem("unavailable", detail, headers=retry_after(1))
