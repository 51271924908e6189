"""What requests and answers of several routes are made of."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from fastapi import Body, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from broadcaster.api.pages import Page

LONGEST_NAME: Final = 100


class Asked(BaseModel):
    """What a request brings: what we don't know, or is of another type, is told, not passed over or bent."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Reason(Asked):
    """Why something is done."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "wrong price in the text"}]})

    reason: str = Field(default="", max_length=500, description="Shown to whoever asks why it waits.")


WhyOrNothing = Annotated[Reason | None, Body()]
BroadcastId = Annotated[str, Path(alias="id", max_length=LONGEST_NAME, description="The broadcast's id.")]


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return JSON's types as an answer that can be kept and given again."""
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")


class CodeCount(BaseModel):
    """How many recipients ended in a state with a code."""

    state: str
    code: int
    count: int


class Doubt(BaseModel):
    """What messages in doubt wait for; times are in unix seconds."""

    count: int
    since: int
    absent_after: int | None
    owners_unknown: int
    owners_until: int | None
    looked_at: int
    refused: str | None


class Awaiting(BaseModel):
    """Messages that Twilio has taken and whose final state is not known yet. Times are in unix seconds.

    `given_up` and `gone` of them are not asked for any more: nothing was heard for too long, or Twilio does
    not have them. `refused`: why Twilio told nothing when it was last asked.
    """

    count: int
    next_at: int | None = Field(description="When Twilio is asked for some of them.")
    given_up: int
    gone: int
    refused: str | None


class Fallbacks(BaseModel):
    """SMS that went, or wait to go, to whom WhatsApp can't reach; nobody is counted twice in `total`."""

    total: int
    counts: dict[str, int] = Field(description="These SMS by state; all 0 once their people are removed.")


_BROADCAST: Final[dict[str, Any]] = {
    "id": "1nf3r8k2m0t4qa",
    "name": "Storm warning",
    "state": "running",
    "state_reason": None,
    "total": 2500,
    "counts": {"queued": 1200, "sending": 20, "accepted": 1280},
    "codes": [{"state": "dead", "code": 21211, "count": 3}],
    "senders": ["+14155550100"],
    "waits_for": {"+14155550100": "its pace of 50/s"},
    "in_doubt": None,
    "awaiting": {"count": 1280, "next_at": 1795280405, "given_up": 0, "gone": 0, "refused": None},
    "retried": 0,
    "rejected": 0,
    "fallbacks": {"total": 12, "counts": {"queued": 2, "delivered": 10}},
    "rate": 49.8,
    "eta": 24,
    "created_at": 1795276800,
    "purpose": "utility",
    "consent": None,
    "warnings": [],
    "send_window": "09:00-20:00 America/Lima",
    "schedule_at": None,
    "scheduler": "broadcaster",
    "started_at": 1795276805,
    "finished_at": None,
    "removed_at": None,
}


class Broadcast(BaseModel):
    """A broadcast now. Times are in unix seconds, null if not yet."""

    model_config = ConfigDict(json_schema_extra={"examples": [_BROADCAST]})

    id: str
    name: str
    state: str = Field(
        description="draft, importing, scheduled, running, paused, completed, canceled, failed or deleting."
    )
    state_reason: str | None = Field(description="Why it is in that state, for people.")
    total: int = Field(description="Recipients.")
    counts: dict[str, int] = Field(description="Recipients by state; they add up to `total`.")
    codes: list[CodeCount]
    senders: list[str]
    waits_for: dict[str, str] = Field(description="What each sender with work left waits for, for people.")
    in_doubt: Doubt | None
    awaiting: Awaiting | None
    retried: int
    rejected: int = Field(description="Faulty rows that were left out.")
    fallbacks: Fallbacks | None = Field(description="SMS in place of its WhatsApp messages.")
    rate: float | None = Field(description="Segments a second since the start, while it runs.")
    eta: int | None = Field(description="Seconds until all is sent, null while it waits.")
    created_at: int
    purpose: str = Field(description="Why people are written to.")
    consent: str | None = Field(description="Where and when all of them agreed: `SOURCE,TIME`.")
    warnings: list[str] = Field(description="What you should know, though it stops nothing.")
    send_window: str | None = Field(description="The daily hours outside which it waits.")
    schedule_at: int | None = Field(description="When it is to start, if a time was named.")
    scheduler: str = Field(description="Who keeps it until then: `broadcaster`, or `twilio`, which sends it.")
    started_at: int | None
    finished_at: int | None
    removed_at: int | None = Field(
        description="Since when its messages are removed, and only the counts are left."
    )


class BroadcastPage(Page[Broadcast]):
    """A page of broadcasts, the newest first."""

    everything_stopped: str | None = Field(
        description="What keeps every message from leaving: a pause, Twilio's refusal; null if nothing does.",
        examples=[None],
    )


MESSAGE: Final[dict[str, Any]] = {
    "id": "1nf3r8k2m0t4qa.0.3.17",
    "broadcast": "1nf3r8k2m0t4qa",
    "to": "+14155550123",
    "reference": "order-7",
    "sender": "+14155550100",
    "state": "dead",
    "code": 21211,
    "meaning": "the number is not valid",
    "class": "recipient",
    "sid": None,
    "attempts": 1,
    "segments": 1,
    "evidence": None,
    "fallback": None,
    "attempted_at": 1795276800,
    "changed_at": 1795276801,
    "retry_at": None,
    "consent": None,
    "fallback_id": None,
    "fallback_of": None,
}


class Message(BaseModel):
    """One recipient's message now. Times are in unix seconds."""

    model_config = ConfigDict(json_schema_extra={"examples": [MESSAGE]})

    id: str
    broadcast: str
    to: str
    reference: str | None = Field(description="Your own id.")
    sender: str
    state: str = Field(examples=["accepted"])
    code: int | None
    meaning: str | None
    class_: str | None = Field(
        alias="class",
        description="What its code is about: recipient, opt_out, retry, slow_account, queue_full, sender, "
        "account, content or unknown.",
    )
    sid: str | None = Field(description="Twilio's.")
    attempts: int
    segments: int
    evidence: str | None = Field(description="What its state is known by.")
    fallback: str | None = Field(
        description="`template`: that went in place of the text, as WhatsApp's 24-hour window was closed; "
        "`sms`: an SMS went in its place, as WhatsApp can't reach the person."
    )
    attempted_at: int | None
    changed_at: int | None
    retry_at: int | None = Field(description="From when it may go again, while it waits for another try.")
    consent: str | None = Field(description="Where and when this person agreed to be written to.")
    fallback_id: str | None = Field(description="The SMS that went in its place; lists don't tell.")
    fallback_of: str | None = Field(description="The WhatsApp message in whose place this SMS went.")


class MessagePage(Page[Message]):
    """A page of messages; it may be short, even empty, and still have a `next` one."""


class BroadcastMessagePage(MessagePage):
    """A page of a broadcast's messages."""

    removed_at: int | None = Field(description="Since when they are removed, and only the counts are left.")
