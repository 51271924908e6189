"""Twilio's own shapes, for whoever speaks to Twilio today: errors here, messages beside its routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from starlette.responses import Response

if TYPE_CHECKING:
    from broadcaster.api.problems import Problem

#: Twilio's codes for what a request can run into before it is looked at (twilio.com/docs/api/errors).
_CODES: Final = {401: 20003, 403: 20003, 404: 20404, 405: 20004, 429: 20429, 503: 20503, 500: 20500}


def twilio_error(problem: Problem) -> Response:
    """Return a problem as Twilio's API answers errors: code, message, more_info, status."""
    code = problem.more.get("code") or _CODES.get(problem.status, 20001)
    body = {
        "code": code,
        "message": problem.body()["detail"],
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": problem.status,
    }
    return Response(
        msgspec.json.encode(body),
        problem.status,
        headers=dict(problem.headers),
        media_type="application/json",
    )
