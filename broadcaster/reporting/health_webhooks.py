"""Does Twilio tell us what becomes of messages, and what people answer: the addresses that it calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

from broadcaster.domain.public_names import is_private
from broadcaster.domain.senders import SenderKind, parse_sender
from broadcaster.reporting.health import Check, fail, ok, warn
from broadcaster.twilio.rest import TwilioError, TwilioUnreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.twilio.rest import TwilioRest

#: Where replies may be sent: two names for one thing.
INBOUND_PATHS: Final = ("/webhooks/twilio/inbound", "/webhooks/twilio/webhook")
_LATER: Final = "Try again later; https://status.twilio.com says whether it is Twilio."


def check_public_url(public_url: str | None, *, has_token: bool) -> list[Check]:
    """Check what can be told without asking anybody; `has_token`: TWILIO_AUTH_TOKEN is set."""
    name = "public address"
    if public_url is None:
        found = "none is set: what became of messages is asked for, and replies don't arrive"
        return [warn(name, found, "Set BROADCASTER_PUBLIC_URL to where Twilio reaches `broadcaster api`.")]
    checks = []
    if not has_token:
        advice = "Set TWILIO_AUTH_TOKEN: Twilio signs with it, also where an API key is used to send."
        checks.append(fail("webhook signatures", "can't be checked: every webhook is refused", advice))
    parts, shown = urlsplit(public_url), _shown(public_url)
    if is_private(parts.hostname or ""):
        advice = "Give it a public name (a reverse proxy, a tunnel)."
        checks.append(warn(name, f"{shown} can't be reached from the internet", advice))
    elif parts.scheme != "https":
        checks.append(warn(name, f"{shown} is not encrypted", "Serve it over https://."))
    else:
        checks.append(ok(name, shown))
    return checks


async def check_inbound(rest: TwilioRest, senders: Mapping[str, str], public_url: str) -> list[Check]:
    """Check where Twilio reports messages to `senders`, variable to its value. Raises nothing."""
    checks = []
    for variable, name in senders.items():
        try:
            checks.append(await _inbound(rest, name, public_url))
        except ValueError as error:
            checks.append(fail(f"replies to {name}", str(error), f"Correct {variable}."))
        except (TwilioError, TwilioUnreachable) as error:
            checks.append(warn(f"replies to {name}", f"can't be checked: {error}", _LATER))
    return checks


async def _inbound(rest: TwilioRest, name: str, public_url: str) -> Check:
    label, kind = f"replies to {name}", parse_sender(name).kind
    wanted = _shown(public_url + INBOUND_PATHS[0])
    if kind is SenderKind.SERVICE:
        return await _of_service(rest, name, public_url)
    if kind is SenderKind.ALPHANUMERIC:
        return ok(label, "nobody can answer an alphanumeric sender")
    if kind in (SenderKind.WHATSAPP, SenderKind.WHATSAPP_SANDBOX):
        advice = f"See in Twilio's console, WhatsApp senders (or the sandbox), that it is {wanted}."
        return warn(label, "where they go can't be asked for this kind of sender", advice)
    number = await rest.number(name)
    if number is None:
        return warn(label, "not a number of this account", "See the check of this sender.")
    if number.sms_application_sid:
        advice = f"See in Twilio's console that the application has {wanted}."
        return warn(label, "go to a TwiML application", advice)
    place = "Twilio's console, Phone Numbers, Messaging"
    return _compared(label, number.sms_url, number.sms_method, public_url, place)


async def _of_service(rest: TwilioRest, name: str, public_url: str) -> Check:
    service = await rest.service(name)
    if service.use_inbound_webhook_on_number:
        advice = f"See that each has {_shown(public_url + INBOUND_PATHS[0])}, or let the service have it."
        return warn(f"replies to {name}", "each number of its pool has an address of its own", advice)
    place = "Twilio's console, Messaging Services, Integration"
    url, method = service.inbound_request_url, service.inbound_method
    return _compared(f"replies to {name}", url, method, public_url, place)


def _compared(label: str, url: str | None, method: str | None, public_url: str, place: str) -> Check:
    """Compare what Twilio calls, by what it sends there, with what is served: the path to the letter."""
    advice = f"Set it to {_shown(public_url + INBOUND_PATHS[0])}, HTTP POST ({place})."
    if not url:
        return warn(label, "no address is set for incoming messages: they are lost", advice)
    if _place_of(url) not in {_place_of(public_url + path) for path in INBOUND_PATHS}:
        return warn(label, f"go to {_shown(url)}", advice)
    if (method or "POST").upper() != "POST":
        return warn(label, f"arrive here by HTTP {method}, which is refused", advice)
    return ok(label, "arrive here")


def _place_of(url: str) -> tuple[str, str, int | None, str]:
    """Return what decides where a request arrives: not the query, which is signed as it is."""
    parts = _split(url)
    default = {"https": 443, "http": 80}.get(parts.scheme)
    return parts.scheme, parts.hostname or "", _port_of(parts) or default, parts.path


def _shown(url: str) -> str:
    """Return an address without what may be secret in it: a password, a query."""
    parts = _split(url)
    port = _port_of(parts)
    host = f"{parts.hostname or ''}:{port}" if port else parts.hostname or ""
    return f"{parts.scheme}://{host}{parts.path}"


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url.strip())
    except ValueError:  # half a bracket, say
        return urlsplit("")


def _port_of(parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError:
        return None
