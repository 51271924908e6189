"""One person over HTTP: all that is known of them, and forgetting them."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from broadcaster.api.parts import caller_of, guarded, parts_of
from broadcaster.api.problems import Problem
from broadcaster.api.replies import Reply  # noqa: TC001 - pydantic reads it
from broadcaster.api.shapes import MESSAGE, Message
from broadcaster.domain.addresses import with_plus
from broadcaster.domain.api_keys import Scope
from broadcaster.domain.forgotten import addresses_of
from broadcaster.operations import people, person

router = APIRouter(tags=["recipients"])
Number = Annotated[
    str, Path(max_length=60, examples=["+14155550100"], description="Their number, on whatever channel.")
]


class PersonsMessage(Message):
    """A message to the person, with what it said."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                MESSAGE
                | {
                    "variables": {"name": "Ann"},
                    "body": "Hi Ann",
                    "content_sid": None,
                    "content_variables": None,
                    "media_urls": [],
                    "purpose": "utility",
                    "consent": None,
                    "history": [],
                }
            ]
        }
    )

    variables: dict[str, str] = Field(description="Their row of the list.")
    body: str | None = Field(description="The text as it was made for them.")
    content_sid: str | None
    content_variables: str | None = Field(description="Of a content template, as Twilio got them.")
    media_urls: list[str]
    purpose: str | None
    consent: str | None = Field(description="Where and when they agreed.")
    history: list[dict[str, Any]] = Field(description="Each attempt.")


class PersonsOptOut(BaseModel):
    """Somebody who must not be written to."""

    address: str
    sender: str = Field(description="Only by this sender or Messaging Service; `*`: by none.")
    purpose: str | None = Field(description="Only for this purpose; null: for none.")
    since: int
    source: str
    forgotten: bool = Field(description="Only a hash of the number is kept.")


class RejectedRow(BaseModel):
    """A row of a list that was not taken."""

    broadcast: str
    line: int
    reason: str
    row: dict[str, str]


class OnTheWay(BaseModel):
    """How much that names the person is on its way."""

    callbacks: int = Field(
        description="From Twilio, about messages that are not found yet; ten minutes each."
    )
    events: int = Field(description="To your endpoints.")


class Person(BaseModel):
    """All that is known of a person. Times are in unix seconds."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "number": "+14155550100",
                    "messages": [],
                    "replies": [],
                    "opt_outs": [],
                    "rejected": [],
                    "waiting": {"callbacks": 0, "events": 1},
                }
            ]
        }
    )

    number: str
    messages: list[PersonsMessage]
    replies: list[Reply]
    opt_outs: list[PersonsOptOut]
    rejected: list[RejectedRow]
    waiting: OnTheWay


class Redacted(BaseModel):
    """What became of their messages at Twilio."""

    found: int
    redacted: int
    canceled: int = Field(description="Scheduled there, and canceled.")
    media: int = Field(description="Messages with media, which stay there.")
    failed: int
    failures: list[dict[str, Any]] = Field(description="`sid`, `code`, `meaning` of up to 100.")


_FORGOTTEN: Final[dict[str, Any]] = {
    "messages": 2,
    "skipped": 1,
    "dead": 0,
    "sending": 0,
    "handed": 0,
    "lists": 0,
    "answers": 1,
    "replies": 0,
    "events": 0,
    "opt_outs": 1,
    "opted_out": True,
    "files": ["aof"],
    "at_twilio": None,
    "again": [],
    "remains": ["backups of Redis and copies of its files from before now: delete them"],
}


class Gone(BaseModel):
    """What forgetting a person came to."""

    model_config = ConfigDict(json_schema_extra={"examples": [_FORGOTTEN]})

    messages: int = Field(description="Messages in which a tombstone took their place.")
    skipped: int = Field(description="Of them unsent: they will not be sent.")
    dead: int = Field(description="Of them in doubt: dead letters now, which are never sent again.")
    sending: int = Field(description="Of them being sent at that moment.")
    handed: int = Field(description="Of them waiting at Twilio for their hour: `at_twilio` cancels those.")
    lists: int = Field(description="Rejected rows and drafts' addresses that changed.")
    answers: int = Field(description="Kept answers to requests that went.")
    replies: int
    events: int = Field(description="Deliveries and events on their way that changed.")
    opt_outs: int = Field(description="Opt-outs of which only a hash is kept now.")
    opted_out: bool = Field(description="Whether they are opted out from everywhere: never sent to again.")
    files: list[str] = Field(description="Files of Redis that were written anew: aof, rdb.")
    at_twilio: Redacted | None
    again: list[str] = Field(description="Why this should be asked for once more.")
    remains: list[str] = Field(description="What may still hold the person, out of reach.")


@router.get(
    "/v1/recipients/{number}",
    operation_id="get_recipient",
    response_model=Person,
    **guarded(Scope.PEOPLE_READ),
)
async def show(request: Request, number: Number) -> Any:
    """Return all that is known of a person: messages everywhere, replies, opt-outs, rejected rows.

    And how many callbacks and events on their way name them.
    """
    parts = parts_of(request)
    addresses = addresses_of(with_plus(number), parts.settings.region)
    return await person.show(parts.store, caller_of(request).actor, addresses)


@router.delete(
    "/v1/recipients/{number}",
    operation_id="forget_recipient",
    response_model=Gone,
    **guarded(Scope.PEOPLE_WRITE),
)
async def forget(
    request: Request,
    number: Number,
    *,
    at_twilio: Annotated[bool, Query(description="Also empty their messages' bodies at Twilio.")] = False,
) -> Any:
    """Forget a person: a tombstone takes their place everywhere. Twice changes nothing.

    The answer comes when Redis' files are written anew, which takes as long as Redis is large. Opt-outs stay
    as keyed hashes, so that nobody writes to them again.
    """
    parts = parts_of(request)
    addresses = addresses_of(with_plus(number), parts.settings.region)
    if at_twilio and parts.twilio is None:
        raise Problem("invalid", "Without Twilio's credentials nothing can be emptied there.")
    twilio = parts.twilio if at_twilio else None
    done = await people.forget(parts.store, caller_of(request).actor, addresses, twilio=twilio)
    return done.summary()
