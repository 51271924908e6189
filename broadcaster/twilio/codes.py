"""What an error code means and what it is about: the table `codes.toml`, and safe defaults for all else.

The defaults stop as little as they can and send nothing twice: an unknown code of a refusal concerns its
recipient only, with 401 and 403 the account; a bare 408, 2xx or 5xx is doubt; any other bare HTTP status
means that it was not Twilio that answered, which concerns everything.
"""

from __future__ import annotations

import tomllib
from http import HTTPStatus
from importlib.resources import files
from typing import Final

import msgspec

from broadcaster.domain.failures import Remedy
from broadcaster.domain.opt_out_scopes import MARKETING_OPT_OUTS
from broadcaster.domain.record import Reason

_FIRST_HTTP_STATUS: Final = 100
_LAST_HTTP_STATUS: Final = 600
_FIRST_TWILIO_CODE: Final = 1000

_OWN: Final[dict[Reason, str]] = {
    Reason.NONE: "",
    Reason.OPTED_OUT: "on the opt-out list: not sent",
    Reason.EXPIRED: "the broadcast expired before its turn: not sent",
    Reason.CANCELED: "canceled before its turn: not sent",
    Reason.DUPLICATE: "the same number stands earlier in the list: not sent again",
    Reason.LEASE_LOST: "the worker was lost while sending: may have been sent",
    Reason.NO_ANSWER: "no answer from Twilio: may have been sent",
    Reason.NOT_SENT: "Twilio could not be reached: not sent",
    Reason.BUDGET_SPENT: "every attempt failed",
    Reason.UNKNOWN: "may have been sent, and no evidence was found",
    Reason.RENDERING: "the text could not be made from this recipient's columns: not sent",
    Reason.DISCARDED: "was a dead letter, and discarded by request",
    Reason.REWOUND: "Redis lost what was written about it: may have been sent",
    Reason.FORGOTTEN: "the person was forgotten before its turn: not sent",
    Reason.SCHEDULED_CANCELED: "canceled at Twilio before its time: not sent",
    Reason.WINDOW_CLOSED: "WhatsApp's 24-hour window had closed before its turn: not sent",
    Reason.UNVERIFIED: "a trial account sends to verified numbers only, and this is none: not sent",
}

#: What our own reasons are about, where they are more than our own decisions.
_OWN_CLASS: Final[dict[Reason, Remedy]] = {
    Reason.OPTED_OUT: Remedy.OPT_OUT,
    Reason.LEASE_LOST: Remedy.UNKNOWN,
    Reason.NO_ANSWER: Remedy.UNKNOWN,
    Reason.NOT_SENT: Remedy.RETRY,
    Reason.BUDGET_SPENT: Remedy.RETRY,
    Reason.UNKNOWN: Remedy.UNKNOWN,
    Reason.RENDERING: Remedy.CONTENT,
    Reason.REWOUND: Remedy.UNKNOWN,
}


class Code(msgspec.Struct, frozen=True):
    """One code: Twilio's (1000 and up), an HTTP status (100 to 999), or a `Reason` of ours (below 100).

    `delivery` says that it arrives after the message was accepted.
    """

    code: int
    remedy: Remedy
    meaning: str
    delivery: bool = False


def _read_table() -> dict[int, Code]:
    text = files(__package__).joinpath("codes.toml").read_text("utf-8")
    return {
        int(number): Code(int(number), Remedy(remedy), meaning, delivery=section == "delivery")
        for section, codes in tomllib.loads(text).items()
        for number, (remedy, meaning) in codes.items()
    }


#: Every code we have words for.
CODES: Final[dict[int, Code]] = _read_table()


def lookup(code: int, http_status: int = 0) -> Code:
    """Return what is known about `code`, else a safe default. `http_status` is its answer's, 0 if unknown."""
    known = CODES.get(code)
    if known is not None:
        return known
    if code < _FIRST_HTTP_STATUS:
        return _own_reason(code)
    if code < _FIRST_TWILIO_CODE:
        return Code(code, _remedy_of_status(code), _meaning_of_status(code))
    if http_status in (401, 403):
        return Code(code, Remedy.ACCOUNT, f"refused for this account (Twilio's code {code})")
    return Code(
        code, Remedy.RECIPIENT, f"Twilio's code {code}: see https://www.twilio.com/docs/errors/{code}"
    )


def meaning(code: int) -> str:
    """Return one line for people about any code a record can hold; empty for 0."""
    return lookup(code).meaning


def metric_label(code: int) -> str:
    """Return what stands for a code in a metric: one of few words, whatever Twilio's answer said."""
    if code in (Reason.NO_ANSWER, Reason.NOT_SENT):
        return Reason(code).name.lower()
    if _FIRST_HTTP_STATUS <= code < _LAST_HTTP_STATUS:
        return f"http_{code}"
    return str(code) if code in CODES else "other"


def class_of(code: int) -> str | None:
    """Return what a code is about in one word (a `Remedy`); None for 0 and for what we decided ourselves."""
    if code in MARKETING_OPT_OUTS:
        return Remedy.OPT_OUT.value
    if code >= _FIRST_HTTP_STATUS:
        return lookup(code).remedy.value
    own = _OWN_CLASS.get(Reason(code)) if code in Reason._value2member_map_ else None
    return own.value if own else None


def is_automatic(reason: str) -> bool:
    """Tell whether a broadcast's reason is a script's, which stopped it for what failed, not a person's."""
    kind, _, rest = reason.partition(":")
    return kind in ("content", "failures") and rest[:1].isdigit()


def explain_reason(reason: str) -> str:
    """Put a reason that a script wrote into words: `content:CODE`, `failures:PERCENT:OUTCOMES:CODE`."""
    match reason.split(":"):
        case ["content", code] if code.isdigit():
            return f"its content is refused, {code}: {meaning(int(code))}"
        case ["failures", percent, outcomes, code] if code.isdigit():
            return f"{percent} % of the last {outcomes} failed, most with {code}: {meaning(int(code))}"
    return reason


def _own_reason(code: int) -> Code:
    try:
        reason = Reason(code)
    except ValueError:
        return Code(code, Remedy.UNKNOWN, f"reason {code}, of a newer version of this program")
    return Code(code, Remedy.UNKNOWN, _OWN.get(reason, reason.name.lower().replace("_", " ")))


def _remedy_of_status(status: int) -> Remedy:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Remedy.SLOW_ACCOUNT
    if status == HTTPStatus.REQUEST_TIMEOUT or status // 100 in (2, 5):
        return Remedy.UNKNOWN
    return Remedy.ACCOUNT


def _meaning_of_status(status: int) -> str:
    try:
        phrase = f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = f"HTTP {status}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return f"{phrase}: slow down; not sent"
    if _remedy_of_status(status) is Remedy.UNKNOWN:
        return f"{phrase}: may have been sent"
    return f"{phrase}, and not in Twilio's form: something else answered (a proxy, a wrong base URL)"
