"""`send --test TO`: the first message of a list, to one number, with nothing recorded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from broadcaster.cli.exits import FAILED, InputError
from broadcaster.cli.output import print_json, say
from broadcaster.cli.preview import forecast
from broadcaster.cli.sending import check_credentials
from broadcaster.domain.addresses import channel_of, mask, parse_address
from broadcaster.domain.failures import Kind
from broadcaster.domain.senders import parse_sender
from broadcaster.runtime import message_sender, twilio_rest
from broadcaster.twilio.codes import meaning
from broadcaster.twilio.forms import encode_form

if TYPE_CHECKING:
    from broadcaster.cli.send import SendOptions
    from broadcaster.domain.failures import Outcome
    from broadcaster.intake.dry_run import FirstMessage


def send_trial(options: SendOptions) -> int:
    """Check the whole list, send its first message to one number, and say what Twilio answered."""
    to = parse_address(options.test_to or "", options.region)
    options.settings.credentials()
    report, lanes = forecast(options)
    if not report.messages:
        raise InputError(f"{report.list_name} has no recipient whose message could be shown: see --dry-run")
    fitting = [lane.name for lane in lanes if parse_sender(lane.name).channel in (None, channel_of(to))]
    if not fitting:
        raise InputError(f"none of the senders can write to {to}: name one with --from")
    message = report.messages[0]
    sender = message.sender if message.sender in fitting else fitting[0]
    outcome = asyncio.run(_post(options, _form(options, message, sender, to)))
    if options.as_json:
        print_json(
            {"to": to, "from": sender, "outcome": outcome.kind, "sid": outcome.sid, "code": outcome.code}
        )
    else:
        text = message.body or message.content_variables or options.content.content_sid
        click.echo(f"{sender} → {mask(to)}: {text}")
        click.echo(_told(outcome))
    return 0 if outcome.kind is Kind.ACCEPTED else FAILED


def _form(options: SendOptions, message: FirstMessage, sender: str, to: str) -> bytes:
    content = options.content
    pairs = [("MessagingServiceSid", sender)] if sender.startswith("MG") else [("From", sender)]
    if options.service and options.senders:
        pairs.append(("MessagingServiceSid", options.service))
    pairs += [("To", to), *(("MediaUrl", url) for url in content.media_urls)]
    if message.body is not None:
        pairs.append(("Body", message.body))
    if content.content_sid:
        pairs.append(("ContentSid", content.content_sid))
    if message.content_variables is not None:
        pairs.append(("ContentVariables", message.content_variables))
    return encode_form([*pairs, *content.options.items()])


async def _post(options: SendOptions, form: bytes) -> Outcome:
    async with twilio_rest(options.settings) as rest:
        await check_credentials(rest)
    async with message_sender(options.settings, 1) as sender:
        return await sender.post(form)


def _told(outcome: Outcome) -> str:
    code = outcome.code or outcome.http_status
    why = f" ({code}: {meaning(code)})" if code else f" ({outcome.detail})" if outcome.detail else ""
    match outcome.kind:
        case Kind.ACCEPTED:
            return f"Twilio accepted it: {outcome.sid}. Nobody else was sent anything."
        case Kind.UNKNOWN:
            say("It is not known whether it was sent: look at the phone before trying again.")
            return f"no clear answer{why}"
        case _:
            return f"{outcome.kind}: it was not sent{why}"
