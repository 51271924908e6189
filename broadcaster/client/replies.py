"""Replies: what people wrote back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from broadcaster.client.asking import Asking
from broadcaster.client.broadcasts import given, new_key

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Reply:
    """What somebody wrote to one of our senders, and what it meant.

    `person` is a number, or what Twilio tells in its place; `media` are (URL, type) at Twilio, which asks for
    the account's credentials there; `flagged`: it waits for a person, who finds out why in `flag`.
    """

    id: str
    person: str
    to: str
    received_at: float
    body: str
    meaning: str
    flagged: bool
    media: tuple[tuple[str, str | None], ...] = ()
    message: str | None = None
    flag: str | None = None
    raw: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, raw: dict[str, Any]) -> Reply:
        """Read the API's object."""
        return cls(
            id=raw["id"],
            person=raw["from"],
            to=raw["to"],
            received_at=raw["received_at"],
            body=raw["body"],
            meaning=raw["meaning"],
            flagged=raw["flagged"],
            media=tuple((one["url"], one.get("type")) for one in raw.get("media", ())),
            message=raw.get("message"),
            flag=raw.get("flag"),
            raw=raw,
        )


class ReplyCalls(Asking):
    """What can be done with replies."""

    def replies(
        self,
        *,
        from_: str | None = None,
        flagged: bool = False,
        since: float | None = None,
        limit: int | None = None,
    ) -> Iterator[Reply]:
        """Yield replies, the newest first: of one number, of those that wait for a person, since a time.

        A number is meant with SMS and WhatsApp, unless `whatsapp:` is written. `since` is in unix seconds;
        `limit`: how many a page has.
        """
        wanted = given(since=since, limit=limit, flagged=flagged or None, **{"from": from_})
        yield from self.every("/v1/replies", Reply.of, **wanted)

    def reply(self, reply: str) -> Reply:
        """Return one reply by its SID. Raises `ApiError` 404."""
        return self.one(Reply.of, "GET", _at(reply))

    def opt_out_by_reply(self, reply: str) -> Reply:
        """Make an opt-out of a reply, as if it had been STOP. Raises `ApiError` 404 or 409 (no number)."""
        return self.one(Reply.of, "POST", f"{_at(reply)}/opt-out", idempotency_key=new_key())

    def finish_reply(self, reply: str) -> Reply:
        """Note that a reply was dealt with: it is flagged no more. Raises `ApiError` 404."""
        return self.one(Reply.of, "POST", f"{_at(reply)}/done", idempotency_key=new_key())


def _at(reply: str) -> str:
    return f"/v1/replies/{quote(reply, safe='')}"
