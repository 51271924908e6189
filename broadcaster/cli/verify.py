"""`broadcaster verify …`: codes that prove who has a number or an e-mail address, by Twilio Verify."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec

from broadcaster.cli.exits import FAILED, UNFINISHED, InputError
from broadcaster.cli.explaining import explain
from broadcaster.cli.options import env_file_option, json_option
from broadcaster.cli.output import harmless, print_json, say, when
from broadcaster.cli.verify_service import service
from broadcaster.cli.verifying import at_verify
from broadcaster.domain.verifications import START_FIELDS, Start, VerifyChannel
from broadcaster.domain.verify_services import ONLY_BY_SUPPORT
from broadcaster.operations import verifications as acts
from broadcaster.operations.verifications import Key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from broadcaster.client import Client
    from broadcaster.operations.verifications import Verifying

#: What an Idempotency-Key's header can carry (RFC 8941, 3.3.3).
_HEADER: Final = re.compile(r"[\x20-\x7e]{1,255}")
_F = TypeVar("_F", bound="Callable[..., Any]")
#: The code was not compared: whoever asks in a script must not take that for a wrong one.
UNCHECKED: Final = UNFINISHED
_sid = click.argument("sid", metavar="SID")
_service = click.option(
    "--service", "service_sid", metavar="VA…", help="The Verify service; without it the settings' own."
)


@click.group()
def verify() -> None:
    """Verify people by a code that Twilio Verify sends: `start` sends it, `check` says whether it is right.

    Codes are kept by Twilio alone. TWILIO_VERIFY_SERVICE_SID names the service; `verify service` makes one.
    """


def _json_option(name: str, words: str) -> Callable[[_F], _F]:
    return click.option(name, metavar="JSON", default=None, callback=_object, help=words)


def _key(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    """Read a key as both ways take it: an empty one, of an unset shell variable, would send each time."""
    if text is not None and not (text.strip() and _HEADER.fullmatch(text)):
        raise InputError(
            f"--idempotency-key takes 1 to 255 printable ASCII characters, this has {len(text.strip())}, "
            "or others: leave it out to start without one"
        )
    return text


def _object(_: click.Context, option: click.Parameter, text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise InputError(f'{option.opts[0]} takes a JSON object like {{"name": "value"}}') from None


@verify.command()
@click.argument("to", metavar="TO")
@click.option(
    "--channel",
    metavar="|".join(VerifyChannel),
    help="How the code gets there. Without it: email, whatsapp or sms, by what TO looks like.",
)
@click.option("--locale", metavar="LANG", help="The message's language: en, pt-BR; else by the number.")
@click.option("--template-sid", metavar="HJ…", help="A template in place of the service's own.")
@_json_option("--template-substitutions", "What the template's own variables say.")
@click.option("--custom-friendly-name", metavar="NAME", help="How this message calls you.")
@click.option("--custom-code", metavar="C|-", help="Your own code, where the service allows it; - reads it.")
@click.option("--send-digits", metavar="D", help="Dialled when a call is answered: an extension.")
@_json_option("--rate-limits", "Values by the unique names of the service's rate limits.")
@_json_option("--channel-configuration", "Of e-mails: from, from_name, template_id, substitutions.")
@click.option("--app-hash", metavar="H", help="The Android app that reads the SMS.")
@click.option("--device-ip", metavar="IP", help="The person's address, for the channel auto.")
@click.option("--sna-client-token", is_flag=True, default=None, help="The phone's answer must be shown, too.")
@click.option("--risk-check", metavar="enable|disable", help="disable: past Twilio's own fraud checks.")
@click.option("--amount", help="Of a payment (PSD2).")
@click.option("--payee", help="Of a payment (PSD2).")
@_json_option("--tags", "Up to ten texts by name, told in Twilio's events; no personal data.")
@_service
@click.option(
    "--idempotency-key",
    metavar="K",
    callback=_key,
    help="The same start with the same key sends no second code, for a day and by the same way: beside Redis "
    "and over the API, and by another API key, it is another key.",
)
@json_option
@env_file_option
def start(
    *,
    service_sid: str | None,
    idempotency_key: str | None,
    as_json: bool,
    env_file: Path | None,
    **given: Any,
) -> None:
    """Send a code to TO: a number, whatsapp:NUMBER, or an e-mail address.

    While a verification of TO is pending Twilio goes on with it: the same code is sent again, five times at
    most. Where Twilio's answer is lost a code may have been sent: under the same --idempotency-key none is
    sent again.
    """
    if given["custom_code"] == "-":
        given["custom_code"] = _typed("Custom code")
    asked = Start(**{name: given[name] for name in START_FIELDS})

    async def here(work: Verifying) -> dict[str, Any]:
        key = Key.of_shell(idempotency_key)
        return (await acts.start(work, asked, service=service_sid, key=key)).summary()

    def there(client: Client) -> dict[str, Any]:
        fields = {name: value for name, value in given.items() if value not in (None, {})}
        return client.start_verification(
            idempotency_key=idempotency_key, service_sid=service_sid, **fields
        ).raw

    found = at_verify(env_file, here, there)
    if as_json:
        print_json(found)
        return
    _print(found)
    if found["sna_url"]:
        click.echo(harmless(f"The phone is to call, over its own network: {found['sna_url']}"))
    say(ONLY_BY_SUPPORT)


@verify.command()
@click.argument("to", metavar="[TO]", required=False)
@click.option("--sid", metavar="VE…", help="The verification, in place of TO.")
@click.option("--code", metavar="C", help="What the person typed; without it, it is read or asked for.")
@click.option("--sna", is_flag=True, help="No code: the phone has called the address that `start` told.")
@click.option("--sna-client-token", metavar="T", help="What the phone got there, with no code.")
@click.option("--amount", help="Of a payment (PSD2).")
@click.option("--payee", help="Of a payment (PSD2).")
@_service
@json_option
@env_file_option
def check(
    *,
    to: str | None,
    sid: str | None,
    code: str | None,
    sna: bool,
    sna_client_token: str | None,
    amount: str | None,
    payee: str | None,
    service_sid: str | None,
    as_json: bool,
    env_file: Path | None,
) -> int:
    """Check a code: exit code 0 if it is right, 1 if it is wrong, which is counted.

    2: nothing is pending for TO, or what was given is wrong, an address of the API or of Redis included.
    3: it could not be checked now, and may be right: Twilio gave no good answer, or a limit is reached.

    Without --code it is read from standard input, or asked for without showing it.
    """
    if code in (None, "-") and not sna and sna_client_token is None:
        code = _typed("Code")
    more: dict[str, Any] = {
        "sna": sna,
        "sna_client_token": sna_client_token,
        "amount": amount,
        "payee": payee,
    }

    async def here(work: Verifying) -> dict[str, Any]:
        return (await acts.check(work, to=to, sid=sid, code=code, service=service_sid, **more)).summary()

    try:
        found = at_verify(
            env_file,
            here,
            lambda client: (
                client.check_verification(code, to=to, sid=sid, service_sid=service_sid, **more).raw
            ),
        )
    except Exception as error:
        told = explain(error)
        if told is None or told[0] != FAILED:
            raise
        say(told[1])
        return UNCHECKED
    if as_json:
        print_json(found)
    else:
        click.echo(harmless(f"{'right' if found['valid'] else 'wrong'}: {found['sid']} is {found['status']}"))
    return 0 if found["valid"] else FAILED


@verify.command()
@_sid
@_service
@json_option
@env_file_option
def show(sid: str, service_sid: str | None, *, as_json: bool, env_file: Path | None) -> None:
    """Show a verification that Twilio still has: it forgets what is approved or has expired."""
    _one(
        sid,
        env_file,
        lambda work: acts.show(work, sid, service=service_sid),
        lambda client: client.verification(sid, service_sid=service_sid).raw,
        as_json=as_json,
    )


@verify.command()
@_sid
@_service
@json_option
@env_file_option
def cancel(sid: str, service_sid: str | None, *, as_json: bool, env_file: Path | None) -> None:
    """End a verification: its code is good no more, and another can be started at once."""
    _one(
        sid,
        env_file,
        lambda work: acts.end(work, sid, "canceled", service=service_sid),
        lambda client: client.cancel_verification(sid, service_sid=service_sid).raw,
        as_json=as_json,
    )


@verify.command()
@_sid
@_service
@json_option
@env_file_option
def approve(sid: str, service_sid: str | None, *, as_json: bool, env_file: Path | None) -> None:
    """Tell Twilio that a custom code, which you have checked yourself, was right."""
    _one(
        sid,
        env_file,
        lambda work: acts.end(work, sid, "approved", service=service_sid),
        lambda client: client.approve_verification(sid, service_sid=service_sid).raw,
        as_json=as_json,
    )


verify.add_command(service)


def _one(
    sid: str,
    env_file: Path | None,
    act: Callable[[Verifying], Any],
    there: Callable[[Client], dict[str, Any]],
    *,
    as_json: bool,
) -> None:
    acts.check_sid(sid)

    async def here(work: Verifying) -> dict[str, Any]:
        found: dict[str, Any] = (await act(work)).summary()
        return found

    found = at_verify(env_file, here, there)
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    sends = f", sent {len(found['sends'])} times" if len(found["sends"]) > 1 else ""
    line = f"{found['sid']}  {found['status']}: {found['to']} by {found['channel']}{sends}"
    click.echo(harmless(f"{line}, since {when(found['created_at'])}" if found["created_at"] else line))


def _typed(what: str) -> str:
    """Return what somebody types without showing it, or the first line of standard input."""
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=True, err=True))
    return sys.stdin.readline().strip()
