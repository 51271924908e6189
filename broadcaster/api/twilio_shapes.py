"""Twilio's own shapes, for whoever speaks to Twilio today: errors, messages, pages of messages.

Fields and their order as in Twilio's API description of 2010-04-01 (`api.v2010.account.message`).
"""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.responses import Response

from broadcaster.domain.message_ids import sid_like
from broadcaster.domain.record import Reason, State
from broadcaster.twilio.codes import meaning

if TYPE_CHECKING:
    from broadcaster.api.problems import Problem
    from broadcaster.domain.broadcast import BroadcastSpec
    from broadcaster.reporting.messages import MessageView

#: Twilio's codes for what a request can run into before it is looked at (twilio.com/docs/api/errors).
_CODES: Final = {401: 20003, 403: 20003, 404: 20404, 405: 20004, 429: 20429, 503: 20503, 500: 20500}
_ANY: Final = 20001
#: Twilio's word for each of our states. What waits with us is queued; what Twilio took is on its way; what
#: nobody will send has failed, or was stopped.
STATUS: Final = {
    State.QUEUED: "queued",
    State.RETRY: "queued",
    State.SENDING: "sending",
    State.IN_DOUBT: "sending",
    State.ACCEPTED: "sending",
    State.SENT: "sent",
    State.DELIVERED: "delivered",
    State.READ: "read",
    State.UNDELIVERED: "undelivered",
    State.FAILED: "failed",
    State.DEAD: "failed",
    State.SKIPPED: "canceled",
}
_FAILED: Final = frozenset({State.UNDELIVERED, State.FAILED, State.DEAD})
#: Twilio's code for what we end ourselves: an expired message is its 30036, an opted-out recipient 21610.
_OURS: Final = {Reason.EXPIRED: 30036, Reason.OPTED_OUT: 21610, Reason.UNVERIFIED: 21608}


def twilio_error(problem: Problem) -> Response:
    """Return a problem as Twilio's API answers errors: code, message, more_info, status."""
    told = problem.more.get("code")
    code = told if isinstance(told, int) and told else _CODES.get(problem.status, _ANY)
    status = 400 if problem.status == 422 else problem.status  # noqa: PLR2004 - Twilio has no 422
    body = {
        "code": code,
        "message": problem.body()["detail"],
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    headers = dict(problem.headers)
    return Response(msgspec.json.encode(body), status, headers, media_type="application/json")


def resource(
    view: MessageView, spec: BroadcastSpec, body: str, account: str, sid: str = ""
) -> dict[str, Any]:
    """Return a message as Twilio shows one. `sid` is how it was asked for, else the SID that we gave it."""
    record, name = view.record, sid or sid_like(view.id)
    service = view.sender if view.sender.startswith("MG") else spec.messaging_service_sid
    failed = _code(record.code) if record.state in _FAILED else None
    uri = f"/2010-04-01/Accounts/{account}/Messages/{name}"
    left = record.state in (State.SENT, State.DELIVERED, State.READ, State.UNDELIVERED)
    return {
        "body": body,
        "num_segments": str(record.segments),
        "direction": "outbound-api",
        "from": None if view.sender.startswith("MG") else view.sender,
        "to": view.to,
        "date_updated": date(record.changed),
        "price": None,
        "error_message": meaning(failed) or None if failed else None,
        "uri": f"{uri}.json",
        "account_sid": account,
        "num_media": str(len(spec.content.media_urls)),
        "status": STATUS[record.state],
        "messaging_service_sid": service,
        "sid": name,
        "date_sent": date(record.changed) if left else None,
        "date_created": date(record.began or record.changed),
        "error_code": failed,
        "price_unit": "USD",
        "api_version": "2010-04-01",
        "subresource_uris": {"media": f"{uri}/Media.json", "feedback": f"{uri}/Feedback.json"},
    }


def _code(code: int) -> int:
    return _OURS.get(Reason(code), _ANY) if code in {reason.value for reason in Reason} else code


def date(unix_seconds: int) -> str | None:
    """Return a time as Twilio's API of 2010 writes it (RFC 2822), None for none."""
    return formatdate(unix_seconds, usegmt=False).replace("-0000", "+0000") if unix_seconds else None
