"""Twilio's error answers: the HTTP status each code comes with, and a sentence of our own.

Statuses as the error dictionary's pages and Twilio's test credentials show them; 400 where
nothing else is known.
"""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from typing import Final

import msgspec

_OTHER_THAN_400: Final[dict[int, int]] = {
    20003: 401,
    20005: 403,
    20006: 403,
    20008: 403,
    20009: 409,
    20403: 403,
    20404: 404,
    20409: 409,
    20429: 429,
    20500: 500,
    20503: 503,
    20504: 504,
    21611: 429,
    30409: 409,
    60202: 429,
    60203: 429,
    60204: 403,
    60212: 429,
    60410: 403,
    60605: 403,
    63038: 429,
}

_MESSAGES: Final[dict[int, str]] = {
    20003: "The credentials were refused",
    20005: "The account is not active",
    20007: "PageSize may be 1000 at most",
    20008: "Test credentials can't use this resource",
    20009: "The message is not complete yet and can't be deleted",
    20404: "There is no such resource",
    20422: "A parameter has a value that isn't allowed",
    20429: "Too many requests at once",
    20500: "Something went wrong inside",
    20503: "The service is not available just now",
    21211: "'To' is not a number that can exist",
    21212: "'From' is not a valid sender",
    21265: "'To' may not be a short code",
    21266: "'To' and 'From' are the same",
    21267: "A trial account can't send from an alphanumeric sender",
    21408: "Messages to this region are not enabled",
    21602: "There is no body, media or content to send",
    21603: "There is neither a 'From' nor a service to send from",
    21604: "'To' is missing, or the request is not form-encoded",
    21606: "'From' is not a number of this account that can send this",
    21608: "A trial account sends to verified numbers only, and 'To' isn't one",
    21609: "The status callback is not a usable URL",
    21610: "The recipient has opted out of messages from this sender",
    21611: "This sender's queue is full",
    21612: "'To' can't be reached from this 'From'",
    21614: "'To' is not a mobile number",
    21617: "The body is longer than 1600 characters",
    21620: "A media URL is not usable",
    21623: "More than ten media URLs",
    21624: "The validity period is outside 1 to 36000 seconds",
    21654: "Content variables need a ContentSid",
    21655: "The ContentSid names no template",
    21656: "The content variables are not a JSON object of strings, none of them empty or in several lines",
    21658: "A content variable is longer than 1600 characters",
    21664: "A fallback sender needs a Messaging Service",
    21665: "A fallback sender and a 'From' exclude each other",
    21701: "There is no such Messaging Service",
    21704: "The Messaging Service has no senders",
    21705: "That is not the sid of a Messaging Service",
    21711: "'From' is not in this service's pool",
    21910: "'From' and 'To' are on different channels",
    30029: "The content retention is neither retain nor discard",
    30030: "The address retention is neither retain nor obfuscate",
    30409: "It is too late to cancel this message",
    35111: "A scheduled message needs a SendAt",
    35114: "SendAt is not a time in ISO 8601",
    35115: "SendAt is outside the window for scheduling",
    35118: "Scheduling needs a Messaging Service",
    35126: "The schedule type is not fixed",
    60200: "Invalid parameter",
    60202: "Max check attempts reached",
    60203: "Max send attempts reached",
    60204: "The Verify service doesn't have this feature enabled",
    60205: "SMS is not possible to a landline",
    60212: "Too many concurrent requests for this number",
    60410: "Verifications to this prefix are blocked for now: suspected fraud",
    60605: "Verifications to this country are not enabled",
    60408: "A TemplateSid is for text messages and calls only",
    63007: "'From' is no WhatsApp sender of this account",
    63030: "A template brings its own media: MediaUrl can't be combined with ContentSid",
    92009: "This template has already been submitted for approval",
}


def status_of(code: int) -> int:
    """Return the HTTP status that this Twilio code comes with."""
    return _OTHER_THAN_400.get(code, int(HTTPStatus.BAD_REQUEST))


@lru_cache(maxsize=512)
def error_body(code: int, status: int, detail: str = "") -> bytes:
    """Return Twilio's JSON for an error: `code`, `message`, `more_info`, `status`."""
    message = _MESSAGES.get(code, "Refused by the simulator on request")
    return msgspec.json.encode(
        {
            "code": code,
            "message": f"{message}: {detail}" if detail else message,
            "more_info": f"https://www.twilio.com/docs/errors/{code}",
            "status": status,
        }
    )
