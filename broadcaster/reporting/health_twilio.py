"""Is this Twilio account one that can send: its credentials, its kind, the senders that are set."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from broadcaster.domain.senders import SenderKind, parse_sender
from broadcaster.reporting.health import Check, fail, ok, skew, warn
from broadcaster.twilio.rest import TwilioError, TwilioUnreachable
from broadcaster.twilio.whatsapp_senders import whatsapp_senders

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.domain.senders import Sender
    from broadcaster.twilio.rest import TwilioRest
    from broadcaster.twilio.whatsapp_senders import WhatsAppSender

_REFUSED: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
#: Twilio's `Date` header has whole seconds.
_DATE_EXACT_SECONDS: Final = 1.0
_LATER: Final = "Try again later; https://status.twilio.com says whether it is Twilio."


async def check_twilio(rest: TwilioRest, senders: Mapping[str, str], *, base_url: str | None) -> list[Check]:
    """Check the account and `senders`, variable to its value. Raises nothing.

    `base_url` is `TWILIO_API_BASE_URL`: something else in Twilio's place.
    """
    checks = []
    if base_url:
        found = f"{base_url} stands in Twilio's place: nothing reaches a phone by itself"
        checks.append(warn("twilio address", found, "Unset TWILIO_API_BASE_URL to send for real."))
    credentials, ahead = await _credentials(rest)
    checks.append(credentials)
    if credentials.level != "ok":
        return checks
    if ahead is not None:
        checks.append(skew("twilio clock", ahead, exact_to=_DATE_EXACT_SECONDS))
    checks.append(await _account(rest))
    if not senders:
        advice = (
            "Set TWILIO_PHONE_NUMBER, TWILIO_WHATSAPP_FROM or TWILIO_MESSAGING_SERVICE_SID, or use --from."
        )
        checks.append(warn("senders", "none is set", advice))
    for variable, name in senders.items():
        checks.append(await _sender(rest, variable, name))
    return checks + await _whatsapp(rest, list(senders.values()))


async def _whatsapp(rest: TwilioRest, names: list[str]) -> list[Check]:
    """Check the WhatsApp senders that are set, those in a service's pool included; not the sandbox."""
    label = "whatsapp limits"
    try:
        pools = [await _pool(rest, name) for name in names if name.startswith("MG")]
        used = [name for some in (names, *pools) for name in some if _is_whatsapp(name)]
        if not used:
            return []
        listed = await whatsapp_senders(rest)
    except TwilioError as error:
        if error.status in _REFUSED:
            return [ok(label, "how they are can't be asked with this API key")]
        return [warn(label, f"how they are can't be asked: {error}", _LATER)]
    except TwilioUnreachable as error:
        return [warn(label, f"how they are can't be asked, no answer: {error}", _LATER)]
    if not listed:
        return [ok(label, "Twilio lists none of this account: limit and quality are not known")]
    return [_quality(name, listed.get(name)) for name in dict.fromkeys(used)]


async def _pool(rest: TwilioRest, service: str) -> list[str]:
    try:
        return await rest.service_pool(service)
    except TwilioError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return []  # which was told already
        raise


def _is_whatsapp(name: str) -> bool:
    try:
        return parse_sender(name).kind is SenderKind.WHATSAPP
    except ValueError:
        return False


def _quality(name: str, sender: WhatsAppSender | None) -> Check:
    label = f"whatsapp {name.removeprefix('whatsapp:')}"
    console = "See it in Twilio's console, Messaging, Senders, WhatsApp senders."
    if sender is None:
        return warn(label, "is none of this account's WhatsApp senders, as Twilio lists them", console)
    found = (
        f"{sender.status or 'status unknown'}, quality {sender.quality or 'unknown'}, "
        f"messaging limit {sender.limit or 'unknown'}"
    )
    if not sender.online:
        return warn(label, f"{found}: Twilio may refuse its messages", console)
    if sender.quality.upper() == "LOW":
        advice = (
            "Write to those only who expect it: Meta lowers the limit of a sender whose quality stays low."
        )
        return warn(label, found, advice)
    return ok(label, found)


async def _credentials(rest: TwilioRest) -> tuple[Check, float | None]:
    """Return the finding, and how far Twilio's clock is ahead of ours."""
    name = "twilio credentials"
    try:
        ahead = await rest.check_credentials()
    except TwilioError as error:
        if error.status in _REFUSED:
            advice = (
                "Copy TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN (or the API key) from Twilio's console again."
            )
            return fail(name, f"refused: {error}", advice), None
        return warn(name, f"can't be checked: {error}", _LATER), None
    except TwilioUnreachable as error:
        advice = "Check this machine's way out: DNS, firewall, BROADCASTER_PROXY_URL."
        return warn(name, f"can't be checked, no answer: {error}", advice), None
    return ok(name, "accepted: messages can be read"), ahead


async def _account(rest: TwilioRest) -> Check:
    name = "twilio account"
    try:
        account = await rest.account()
    except TwilioError as error:
        if error.status in _REFUSED:
            return ok(name, "not to be read with this API key: whether it is a trial can't be told")
        return warn(name, f"can't be read: {error}", _LATER)
    except TwilioUnreachable as error:
        return warn(name, f"can't be read, no answer: {error}", _LATER)
    if account.status and account.status != "active":
        return fail(name, f"{account.status}: it can't send", "Settle in Twilio's console why.")
    if account.is_trial:
        found = "a trial: only verified numbers get messages, each with a prefix, and slowly"
        return warn(name, found, "Upgrade it in Twilio's console, or verify the recipients there.")
    return ok(name, "active, no trial")


async def _sender(rest: TwilioRest, variable: str, name: str) -> Check:
    label = f"sender {name}"
    try:
        sender = parse_sender(name)
        if sender.kind is SenderKind.SERVICE:
            return await _service(rest, variable, label, sender)
        return _ownership(variable, label, sender, owned=await rest.owns_number(sender.name))
    except ValueError as error:
        return fail(label, str(error), f"Correct {variable}.")
    except TwilioError as error:
        if error.status in _REFUSED:
            return ok(label, "whose it is can't be asked with this API key")
        return warn(label, f"can't be checked: {error}", _LATER)
    except TwilioUnreachable as error:
        return warn(label, f"can't be checked, no answer: {error}", _LATER)


def _ownership(variable: str, label: str, sender: Sender, *, owned: bool | None) -> Check:
    if sender.kind is SenderKind.WHATSAPP_SANDBOX:
        found = "WhatsApp's sandbox: a message in 3 s, to who joined it"
        return warn(label, found, "Register a WhatsApp sender of your own before a real broadcast.")
    if owned is None:
        return ok(label, "Twilio can't be asked whose it is; the first message will tell")
    if owned:
        return ok(label, "belongs to this account")
    advice = f"Set {variable} to a number of this account (Twilio's console, Phone Numbers)."
    return fail(label, "is not a number of this account: Twilio will refuse every message", advice)


async def _service(rest: TwilioRest, variable: str, label: str, sender: Sender) -> Check:
    try:
        pool = await rest.service_pool(sender.name)
    except TwilioError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return fail(label, "this account has no such messaging service", f"Correct {variable}.")
        raise
    if not pool:
        return fail(
            label, "the service has no sender: Twilio will refuse every message", "Add one to its pool."
        )
    return ok(label, f"{len(pool):,} sender{'s' if len(pool) > 1 else ''} in its pool")
