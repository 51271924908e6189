"""`broadcaster links`: links and QR codes by which people write to a sender first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from broadcaster.cli.connect import at_hand
from broadcaster.cli.exits import InputError
from broadcaster.cli.options import env_file_option, json_option, settings_from
from broadcaster.cli.output import print_json, print_table, say
from broadcaster.operations import opt_in_links as acts

if TYPE_CHECKING:
    from broadcaster.store.connection import Store


@click.command()
@click.option(
    "--sender",
    metavar="S",
    help="Of this sender: whatsapp:+…, a number or a short code. Without it: every WhatsApp sender known.",
)
@click.option("--text", default="", metavar="T", help="The first message, which stands there already.")
@click.option(
    "--qr",
    metavar="FILE.svg",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the link's QR code into this file.",
)
@json_option
@env_file_option
def links(sender: str | None, text: str, qr: Path | None, *, as_json: bool, env_file: Path | None) -> None:
    """Links and QR codes by which people write to you first, which is how they agree to be written to.

    `https://wa.me/…` opens WhatsApp on any device, `whatsapp://send…` where the app is; of a number or short
    code `sms:…` opens the phone's messages.
    """
    found = [_of(sender, text, env_file)] if sender else _every(text, env_file)
    if qr is not None:
        _draw(qr, found, text)
    if as_json:
        print_json(found)
    else:
        rows = [(one["sender"], one["link"], one["app_link"]) for one in found]
        print_table(("sender", "link", "in the app"), rows, whole=(0, 1, 2))
    if not found:
        say("No WhatsApp sender is known: set TWILIO_WHATSAPP_FROM, or name one with --sender.")


def _every(text: str, env_file: Path | None) -> list[dict[str, Any]]:
    async def here(store: Store) -> list[dict[str, Any]]:
        return [one.summary() for one in await acts.every(store, settings_from(env_file), text)]

    return at_hand(env_file, here, lambda client: client.opt_in_links(text=text))


def _of(sender: str, text: str, env_file: Path | None) -> dict[str, Any]:
    """Return a named sender's links, of which nobody has to be asked."""
    return acts.links_of(sender, text, settings_from(env_file).region).summary()


def _draw(file: Path, found: list[dict[str, Any]], text: str) -> None:
    if len(found) != 1:
        many = f"{len(found)} senders are known" if found else "no sender is known"
        raise InputError(f"a QR code is of one sender, and {many}: name one with --sender")
    drawn = acts.qr_of(found[0]["sender"], text)
    try:
        file.write_bytes(drawn)
    except OSError as error:
        raise InputError(f"{file} can't be written: {error.strerror}") from None
    say(f"The QR code of {found[0]['link']} is in {file}.")
