"""Pages of messages as Twilio's list answers them: filters, the newest first, tokens that go on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field

from broadcaster.api.problems import Problem
from broadcaster.api.twilio_shapes import resource
from broadcaster.domain.record import State
from broadcaster.reporting.bodies import body_of, read_spec
from broadcaster.reporting.messages import find_number
from broadcaster.reporting.newest import Position, newest_messages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import Request

    from broadcaster.api.parts import Parts
    from broadcaster.domain.broadcast import BroadcastSpec
    from broadcaster.reporting.messages import MessageView

_KIND: Final = "twilio messages"
#: A list without a number reads at most so many messages for one page; the next page goes on there.
LOOKED_AT_MOST: Final = 20_000
_SENT: Final = frozenset({State.SENT, State.DELIVERED, State.READ, State.UNDELIVERED})
_DAY_SECONDS: Final = 86_400


class Listing(BaseModel):
    """What Twilio's list takes."""

    model_config = ConfigDict(populate_by_name=True)

    to: str | None = Field(default=None, alias="To", max_length=100)
    from_: str | None = Field(default=None, alias="From", max_length=100)
    sent: str | None = Field(default=None, alias="DateSent", max_length=40)
    before: str | None = Field(default=None, alias="DateSent<", max_length=40)
    after: str | None = Field(default=None, alias="DateSent>", max_length=40)
    size: int = Field(default=50, alias="PageSize", ge=1, le=1000)
    number: int = Field(default=0, alias="Page", ge=0)
    token: str | None = Field(default=None, alias="PageToken", max_length=1000)


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list is narrowed to; `since` and `until` bound when a message was sent, in unix seconds."""

    to: str | None = None
    from_: str | None = None
    since: float | None = None
    until: float | None = None

    @classmethod
    def of(cls, asked: Listing) -> Filters:
        """Read Twilio's filters; a day means all of it. Raises `Problem` for what is no date."""
        since = until = None
        if asked.sent:
            day = _moment("DateSent", asked.sent)
            since, until = day.timestamp(), day.timestamp() + _DAY_SECONDS
        if asked.after:
            since = max(since or 0, _moment("DateSent>", asked.after).timestamp())
        if asked.before:
            bound = _moment("DateSent<", asked.before).timestamp()  # seconds go beyond the last day there is
            bound += _DAY_SECONDS if len(asked.before) <= len("2026-11-21") else 0
            until = bound if until is None else min(until, bound)
        return cls(asked.to or None, asked.from_ or None, since, until)

    def takes(self, view: MessageView) -> bool:
        """Whether a message is one of those."""
        if self.to and view.to != self.to:
            return False
        if self.from_ and view.sender != self.from_:
            return False
        if self.since is None and self.until is None:
            return True
        record = view.record
        if record.state not in _SENT:
            return False
        return (self.since or 0) <= record.changed < (self.until or float("inf"))


def _moment(name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise Problem("bad-request", f"{name} is no date: {text}", more={"code": 20001}) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


async def message_page(parts: Parts, request: Request, account: str, asked: Listing) -> dict[str, Any]:
    """Return one page in Twilio's envelope."""
    filters, size, number = Filters.of(asked), asked.size, asked.number
    position = _position(parts, asked.token)
    shown: list[dict[str, Any]] = []
    specs: dict[str, BroadcastSpec | None] = {}
    following = last = None
    async for looked_at, view in _numbered(_candidates(parts, filters, position)):
        if len(shown) == size or looked_at > LOOKED_AT_MOST:
            following = last
            break
        last = Position.of(view)
        if not filters.takes(view):
            continue
        if view.broadcast not in specs:
            specs[view.broadcast] = await read_spec(parts.store, view.broadcast)
        spec = specs[view.broadcast]
        if spec is not None:
            shown.append(resource(view, spec, body_of(spec, view), account))
    path = request.url.path
    own = [(name, value) for name, value in request.query_params.multi_items() if name not in _PAGING]

    def uri(page: int, after: Position | None) -> str:
        extra = [("PageSize", str(size)), ("Page", str(page))]
        extra += [] if after is None else [("PageToken", parts.cursors.make(_KIND, list(after)))]
        return f"{path}?{urlencode([*own, *extra])}"

    return {
        "messages": shown,
        "page": number,
        "page_size": size,
        "start": number * size,
        "end": number * size + max(0, len(shown) - 1),
        "uri": f"{path}?{request.url.query}" if request.url.query else path,
        "first_page_uri": uri(0, None),
        "next_page_uri": None if following is None else uri(number + 1, following),
        "previous_page_uri": None,
    }


_PAGING: Final = frozenset({"Page", "PageSize", "PageToken"})


def _position(parts: Parts, token: str | None) -> Position | None:
    found = parts.cursors.read(_KIND, token)
    return None if found is None else Position(*found)


async def _candidates(parts: Parts, filters: Filters, after: Position | None) -> AsyncIterator[MessageView]:
    if filters.to is None:
        async for view in newest_messages(parts.store, after=after):
            yield view
        return
    last = "" if after is None else ".".join(map(str, after))
    async for view in find_number(parts.store, None, filters.to, after=last):
        yield view


async def _numbered(views: AsyncIterator[MessageView]) -> AsyncIterator[tuple[int, MessageView]]:
    count = 0
    async for view in views:
        count += 1
        yield count, view
