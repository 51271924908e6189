"""What an HTTP answer, or its absence, says about one POST to Messages. Pure: no socket is touched here.

The five outcomes are told apart by one question: may the message have been taken?

==============================  =========  =====================================================
what came back                  kind       why
==============================  =========  =====================================================
200 or 201 with a message SID   accepted   Twilio gave it a name
any other 2xx                   unknown    somebody took something
429                             throttled  "not processed" by Twilio's word (its page on 20429)
408, 5xx                        unknown    may have been taken (Twilio's page on 20500)
4xx, Twilio's JSON with a code  rejected   Twilio read it and said no (a few codes say "unknown")
anything else                   rejected   not Twilio answered; `code` is the HTTP status
no answer, certainly not sent   not_sent   see `outcome_of_failure`
no answer, for all else         unknown
==============================  =========  =====================================================
"""

from __future__ import annotations

import re
from email.utils import mktime_tz, parsedate_tz
from typing import TYPE_CHECKING, Final

import msgspec
from pyreqwest.exceptions import DetailedPyreqwestError, PoolTimeoutError

from broadcaster.domain.failures import Kind, Outcome, Remedy
from broadcaster.twilio.codes import lookup

if TYPE_CHECKING:
    from pyreqwest.bytes import Bytes

#: The one cause that proves the connection was never made, TLS included: nothing can have been sent.
NEVER_CONNECTED: Final = "client error (Connect)"
LONGEST_RETRY_AFTER_SECONDS: Final = 86_400.0
LONGEST_DETAIL: Final = 160

_is_sid: Final = re.compile(r"(?:SM|MM)[0-9a-fA-F]{32}").fullmatch


class _Created(msgspec.Struct):
    """The one field we need of a Message resource."""

    sid: str


class _Refused(msgspec.Struct):
    """Twilio's error body; the newer RFC 9457 form has the same `code`."""

    code: int


_read_created: Final = msgspec.json.Decoder(_Created).decode
_read_refused: Final = msgspec.json.Decoder(_Refused).decode


def outcome_of_created(status: int, body: bytes | Bytes) -> Outcome:
    """Read the body of a 200 or 201: accepted with its SID, or unknown."""
    try:
        sid = _read_created(body).sid
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Outcome(Kind.UNKNOWN, http_status=status, detail="a 2xx without a Message")
    if _is_sid(sid) is None:
        return Outcome(Kind.UNKNOWN, http_status=status, detail="a 2xx without a SID")
    return Outcome(Kind.ACCEPTED, sid, 0, status)


def outcome_of_refusal(
    status: int,
    body: bytes,
    *,
    retry_after: str | None = None,
    date: str | None = None,
    concurrent: int | None = None,
) -> Outcome:
    """Classify every answer but 200 and 201. `retry_after` and `date` are those headers, as they came."""
    code = twilio_code(body)
    if status == 429:  # noqa: PLR2004 - HTTP statuses read best as numbers
        kind, detail = Kind.THROTTLED, "throttled"
    elif status == 408 or status >= 500:  # noqa: PLR2004
        kind, detail = Kind.UNKNOWN, f"HTTP {status}"
    elif 200 <= status < 300:  # noqa: PLR2004
        kind, detail = Kind.UNKNOWN, f"HTTP {status} from a create"
    elif status >= 400 and code:  # noqa: PLR2004
        doubtful = lookup(code, status).remedy is Remedy.UNKNOWN
        kind, detail = (Kind.UNKNOWN if doubtful else Kind.REJECTED), "refused by Twilio"
    else:
        code = 0
        kind, detail = Kind.REJECTED, f"HTTP {status} without Twilio's JSON: something else answered"
    return Outcome(
        kind,
        code=code or status,
        http_status=status,
        retry_after_seconds=retry_after_seconds(retry_after, date),
        detail=detail,
        concurrent=concurrent,
    )


def outcome_of_failure(error: Exception) -> Outcome:
    """Classify what pyreqwest raised for a request it was given.

    Its exception types say nothing about the phase (a read timeout comes as `ConnectTimeoutError`, a close
    after the whole request as `ConnectError`). So: not sent only if one cause is exactly `NEVER_CONNECTED`,
    or no connection came free in time; all else is unknown. `marks.check_marks` proves both at start-up.
    """
    if isinstance(error, PoolTimeoutError):
        return Outcome(Kind.NOT_SENT, detail="no connection came free in time")
    causes = causes_of(error)
    kind = Kind.NOT_SENT if NEVER_CONNECTED in causes else Kind.UNKNOWN
    return Outcome(kind, detail=(causes[-1] if causes else type(error).__name__)[:LONGEST_DETAIL])


def causes_of(error: Exception) -> list[str]:
    """Return the causes pyreqwest lists, outermost first, without the one that names the URL."""
    if not isinstance(error, DetailedPyreqwestError):
        return []
    causes = error.details.get("causes") or ()
    return [cause["message"] for cause in causes if " for url (" not in cause["message"]]


def twilio_code(body: bytes) -> int:
    """Return the code in Twilio's error body, 0 where there is none (a proxy's HTML, an empty body)."""
    try:
        code = _read_refused(body).code
    except (msgspec.DecodeError, UnicodeDecodeError):
        return 0
    return code if 0 < code < 1 << 24 else 0


def retry_after_seconds(value: str | None, date: str | None) -> float | None:
    """Read Retry-After (RFC 9110, 10.2.3): seconds, or an HTTP date counted from the answer's own `Date`.

    None where it is missing or makes no sense; at most a day.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        until, now = parsedate_tz(value), parsedate_tz(date or "")
        if until is None or now is None:
            return None
        seconds = float(mktime_tz(until) - mktime_tz(now))
    if not 0 <= seconds < float("inf"):
        return None
    return min(seconds, LONGEST_RETRY_AFTER_SECONDS)
