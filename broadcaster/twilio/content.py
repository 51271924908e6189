"""Templates of the Content API, read only; each read is shared and kept for some seconds.

By Twilio's OpenAPI description `content_v1`: `GET /v1/ContentAndApprovals` lists, `/v1/Content/{sid}` and
`/v1/Content/{sid}/ApprovalRequests` are one template and what WhatsApp says of it.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec

from broadcaster.domain.message_templates import APPROVED, MessageTemplate, body_of, likeness, placeholders_in
from broadcaster.store.ending import end
from broadcaster.twilio.wire import TwilioError, decode, follow

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    from broadcaster.twilio.wire import Wire

    _Ask = Callable[[], Coroutine[Any, Any, Any]]

#: How long an answer is taken for true: a burst of requests asks once.
KEPT_SECONDS: Final = 10.0
#: The list of all, which is long, is asked for less often.
LIST_KEPT_SECONDS: Final = 60.0
#: That there was no answer is soon asked again: Twilio may be back.
FAILURE_KEPT_SECONDS: Final = 3.0
_PAGE_SIZE: Final = 1000
#: WhatsApp takes 6,000 approved templates of an account, Twilio any number.
_MOST_PAGES: Final = 50
_KEPT: Final = 1000
_ALL: Final = ""


@dataclass(slots=True)
class _Asked:
    """One read: under way, and then for how long it is taken for true."""

    task: asyncio.Task[Any]
    until: float = math.inf


@dataclass(frozen=True, slots=True)
class _Listing:
    """All templates; the approved ones also by what they say, which takes long to find out for thousands."""

    templates: list[MessageTemplate] = field(default_factory=list)
    by_likeness: dict[str, MessageTemplate] = field(default_factory=dict)

    def add(self, page: Iterable[MessageTemplate]) -> None:
        """Add a page of them."""
        for template in page:
            self.templates.append(template)
            if template.status == APPROVED and template.body:
                self.by_likeness.setdefault(likeness(template.body), template)


class Templates:
    """The templates of one account. Every method raises `TwilioError` or `TwilioUnreachable`; none retries.

    What was answered is kept for `kept_seconds`, that nothing was for three seconds at most; many who ask at
    once share a request.
    """

    def __init__(
        self,
        wire: Wire,
        *,
        kept_seconds: float = KEPT_SECONDS,
        list_kept_seconds: float = LIST_KEPT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wire = wire
        self._kept_seconds = kept_seconds
        self._list_kept_seconds = list_kept_seconds
        self._clock = clock
        self._asked: dict[str, _Asked] = {}

    async def find(self, sid: str) -> MessageTemplate | None:
        """Return a template, None if the account has no such."""
        found: MessageTemplate | None = await self._shared(sid, lambda: self._fetch(sid), self._kept_seconds)
        return found

    async def every(self) -> list[MessageTemplate]:
        """Return all templates, as Twilio orders them. The list is kept for a minute."""
        return (await self._listing()).templates

    async def saying(self, text: str) -> MessageTemplate | None:
        """Return an approved template of the list that says the same as a text, None if none does."""
        return (await self._listing()).by_likeness.get(likeness(text))

    async def close(self) -> None:
        """End what is under way."""
        await end([asked.task for asked in self._asked.values()])

    async def _listing(self) -> _Listing:
        found: _Listing = await self._shared(_ALL, self._list, self._list_kept_seconds)
        return found

    async def _shared(
        self, name: str, ask: Callable[[], Coroutine[Any, Any, Any]], kept_seconds: float
    ) -> Any:
        """Return what `ask` answers, or has answered not long ago.

        It is a task of its own, so that one who asked and went away doesn't end it for the others.
        """
        asked = self._asked.get(name)
        if asked is None or asked.until <= self._clock():
            if len(self._asked) >= _KEPT:
                self._asked = {key: one for key, one in self._asked.items() if not one.task.done()}
            asked = self._asked[name] = _Asked(asyncio.create_task(ask()))
            asked.task.add_done_callback(partial(self._answered, asked, kept_seconds))
        return asked.task.result() if asked.task.done() else await asyncio.shield(asked.task)

    def _answered(self, asked: _Asked, kept_seconds: float, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            asked.until = 0.0
            return
        failed = task.exception() is not None  # looked at here: everybody who asked may have gone away
        asked.until = self._clock() + (min(kept_seconds, FAILURE_KEPT_SECONDS) if failed else kept_seconds)

    async def _fetch(self, sid: str) -> MessageTemplate | None:
        url = f"{self._wire.content_url}/v1/Content/{sid}"
        try:
            content = decode(await self._wire.get(url), _Content)
        except TwilioError as error:
            if _is_missing(error):
                return None
            raise
        try:
            approval = decode(await self._wire.get(f"{url}/ApprovalRequests"), _Approvals).whatsapp
        except TwilioError as error:
            if not _is_missing(error):
                raise
            approval = None
        return _template(content, approval)

    async def _list(self) -> _Listing:
        found = _Listing()
        url: str | None = f"{self._wire.content_url}/v1/ContentAndApprovals"
        query: Mapping[str, str] | None = {"PageSize": str(_PAGE_SIZE)}
        for _ in range(_MOST_PAGES):
            if url is None:
                break
            page = decode(await self._wire.get(url, query), _Page)
            found.add(
                _template(content, content.approval_requests) for content in page.contents if content.sid
            )
            url, query = follow(url, page.meta.next_page_url), None
        return found


class _Approval(msgspec.Struct):
    status: str | None = None
    category: str | None = None
    rejection_reason: str | None = None


class _Approvals(msgspec.Struct):
    whatsapp: _Approval | None = None


class _Content(msgspec.Struct):
    sid: str | None = None
    friendly_name: str | None = None
    language: str | None = None
    variables: dict[str, Any] | None = None
    types: dict[str, Any] | None = None
    approval_requests: _Approval | None = None


class _Meta(msgspec.Struct):
    next_page_url: str | None = None


class _Page(msgspec.Struct):
    contents: list[_Content]
    meta: _Meta = msgspec.field(default_factory=_Meta)


def _template(content: _Content, approval: _Approval | None) -> MessageTemplate:
    types = content.types or {}
    told = approval or _Approval()
    return MessageTemplate(
        sid=content.sid or "",
        name=content.friendly_name or "",
        language=content.language or "",
        variables={
            key: "" if value is None else str(value) for key, value in (content.variables or {}).items()
        },
        placeholders=placeholders_in(types),
        types=tuple(types),
        body=body_of(types),
        status=(told.status or "unsubmitted").lower(),
        category=(told.category or "").lower(),
        rejection_reason=told.rejection_reason or "",
    )


def _is_missing(error: TwilioError) -> bool:
    """Whether it was Twilio that has no such thing: something else's 404 has no code."""
    return error.status == HTTPStatus.NOT_FOUND and error.code != 0
