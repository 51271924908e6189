"""What became of one POST, and what an error code asks us to do about it.

A POST ends in exactly one of five kinds (`Kind`). Only *throttled* and *not sent* prove that nobody
was messaged, so only those are sent again without a second thought; *unknown* is settled by evidence.
"""

from __future__ import annotations

import enum

import msgspec


class Kind(enum.StrEnum):
    """How a POST to Twilio ended."""

    #: 201 with a sid: Twilio has it.
    ACCEPTED = "accepted"
    #: Twilio's own JSON with a code: it was refused and is not coming back by itself.
    REJECTED = "rejected"
    #: 429: not processed, always safe to send again.
    THROTTLED = "throttled"
    #: No byte of the request left this machine.
    NOT_SENT = "not_sent"
    #: It may have been sent: a timeout, a reset, 408, any 5xx, a malformed 2xx.
    UNKNOWN = "unknown"


class Outcome(msgspec.Struct, frozen=True):
    """The end of one POST.

    `sid` is there when accepted; `code` is Twilio's error code (0 if none came), `http_status` 0 when no
    answer came. `retry_after_seconds` is Twilio's own wish. `detail` says what happened in a few words
    for a person and never holds a body or a number. `concurrent` is what Twilio's
    `Twilio-Concurrent-Requests` header said of a request that was not accepted, None without it.
    """

    kind: Kind
    sid: str | None = None
    code: int = 0
    http_status: int = 0
    retry_after_seconds: float | None = None
    detail: str = ""
    concurrent: int | None = None


class Remedy(enum.StrEnum):
    """What an error code is about, hence what has to change before the message can go."""

    #: This recipient cannot be reached, now or later.
    RECIPIENT = "recipient"
    #: The recipient does not want our messages: also remember that.
    OPT_OUT = "opt_out"
    #: It passes by itself: send again with backoff, spending an attempt.
    RETRY = "retry"
    #: The whole account sends too fast: slow down, spend nothing.
    SLOW_ACCOUNT = "slow_account"
    #: The sender's queue at Twilio is full: its lane waits minutes, spend nothing.
    QUEUE_FULL = "queue_full"
    #: The sender cannot send this: stop its lane.
    SENDER = "sender"
    #: The account cannot send: stop all its lanes.
    ACCOUNT = "account"
    #: The request is wrong for every recipient: pause the broadcast if it repeats.
    CONTENT = "content"
    #: Twilio itself does not know whether it sent.
    UNKNOWN = "unknown"
