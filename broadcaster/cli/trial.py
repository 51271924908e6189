"""`send --test TO`: the first message of a list, to one number, with nothing recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from broadcaster.cli import running
from broadcaster.cli.exits import FAILED
from broadcaster.cli.output import print_json, say
from broadcaster.cli.preview import look_at
from broadcaster.cli.sending import check_credentials
from broadcaster.cli.whatsapp_preview import shown_text
from broadcaster.domain.addresses import mask, parse_address
from broadcaster.domain.failures import Kind
from broadcaster.operations.trying import send_first
from broadcaster.runtime import message_sender, twilio_rest
from broadcaster.twilio.codes import meaning

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.cli.send import SendOptions
    from broadcaster.operations.trying import Forecast, Trial


def send_trial(options: SendOptions) -> int:
    """Check the whole list, send its first message to one number, and say what Twilio answered."""
    parse_address(options.test_to or "", options.region)
    options.settings.credentials()
    found = look_at(options)
    trial = running.run(_post(options, found))
    return tell(trial.summary(), options)


def tell(trial: Mapping[str, Any], options: SendOptions) -> int:
    """Print what came of a trial, told as `Trial.summary` does; return the exit code."""
    if options.as_json:
        print_json(trial)
    else:
        text: str = trial["text"] or options.content.content_sid or ""
        if options.content.body is not None:
            text = shown_text(text, trial["to"])
        click.echo(f"{trial['from']} → {mask(trial['to'])}: {text}")
        click.echo(_told(trial))
    return 0 if trial["outcome"] == Kind.ACCEPTED else FAILED


async def _post(options: SendOptions, found: Forecast) -> Trial:
    async with twilio_rest(options.settings) as rest:
        await check_credentials(rest)
    async with message_sender(options.settings, 1) as sender:
        return await send_first(options.order, found, options.test_to or "", sender.post)


def _told(trial: Mapping[str, Any]) -> str:
    code, detail = trial["code"], trial["detail"]
    why = f" ({code}: {meaning(code)})" if code else f" ({detail})" if detail else ""
    match trial["outcome"]:
        case Kind.ACCEPTED:
            return f"Twilio accepted it: {trial['sid']}. Nobody else was sent anything."
        case Kind.UNKNOWN:
            say("It is not known whether it was sent: look at the phone before trying again.")
            return f"no clear answer{why}"
        case outcome:
            return f"{outcome}: it was not sent{why}"
