"""`broadcaster messages fetch|redact|delete|cancel`, and `list` at Twilio: its own messages, by hand."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from broadcaster.cli.connect import at_hand, at_twilio
from broadcaster.cli.exits import FAILED, InputError
from broadcaster.cli.options import env_file_option, json_option, settings_from
from broadcaster.cli.output import harmless, print_json, print_table, say
from broadcaster.client import ApiError
from broadcaster.domain.message_ids import id_of
from broadcaster.domain.parties import read_party
from broadcaster.domain.sent_dates import read_day, read_sent
from broadcaster.domain.times import TimeError
from broadcaster.operations import messages as ours
from broadcaster.operations import twilio_messages as acts
from broadcaster.operations.actor import at_the_shell
from broadcaster.reporting.messages import read_message
from broadcaster.runtime import twilio_rest
from broadcaster.twilio import messages as theirs
from broadcaster.twilio.wire import TwilioError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from broadcaster.client import Client
    from broadcaster.store.connection import Store
    from broadcaster.twilio.messages import Resource
    from broadcaster.twilio.rest import TwilioRest

_T = TypeVar("_T")
_NOT_FOUND: Final = 404
_COLUMNS: Final = ("sid", "direction", "to", "from", "status", "error_code", "date_sent")
sid_argument = click.argument("sid", metavar="SID")


def list_at_twilio(
    env_file: Path | None, filters: dict[str, str | None], page_size: int | None, limit: int, *, as_json: bool
) -> int:
    """Print what Twilio lists: the newest first, at most `limit`. Returns the exit code."""
    size = page_size or min(limit + 1, theirs.PAGE_SIZE)
    wanted = _read(filters, settings_from(env_file).region)

    async def here(twilio: TwilioRest) -> list[Resource]:
        found: list[Resource] = []
        names = {"to": "to", "from_": "from_", "sent_on": "date_sent"}
        asked: Any = {names.get(name, name): value for name, value in wanted.items()} | {"page_size": size}
        following, more = None, True
        while more and len(found) <= limit:
            page = await theirs.page(twilio, following, **asked)
            found += page.messages
            following, more = page.following, page.following is not None
        return found

    def there(client: Client) -> list[Resource]:
        return list(islice(client.twilio_messages(limit=size, **wanted), limit + 1))

    with _refused(as_json=as_json) as code:
        found = at_twilio(env_file, here, there)
        if as_json:
            print_json(found[:limit])
        else:
            print_table(_COLUMNS, [[one.get(name) for name in _COLUMNS] for one in found[:limit]], whole=[0])
        if len(found) > limit:
            say(f"There are more than {limit:,}; --limit shows more.")
    return code.value


def _read(filters: dict[str, str | None], region: str | None) -> dict[str, Any]:
    """Read the filters that were given. Raises InputError or AddressError."""
    read: dict[str, Callable[[str], str]] = {
        "to": lambda text: read_party(text, region),
        "from_": lambda text: read_party(text, region, sends=True),
        "sent_on": read_day, "sent_after": read_sent,
        "sent_before": read_sent,
    }  # fmt: skip
    try:
        return {name: read[name](text) for name, text in filters.items() if text}
    except TimeError as error:
        raise InputError(str(error)) from None


@click.command()
@sid_argument
@json_option
@env_file_option
def fetch(sid: str, *, as_json: bool, env_file: Path | None) -> int:
    """Show a message as Twilio has it, whoever sent it."""
    acts.check_sid(sid)
    with _refused(as_json=as_json) as code:
        _show(
            at_twilio(
                env_file, lambda twilio: theirs.read(twilio, sid), lambda client: client.twilio_message(sid)
            ),
            as_json=as_json,
        )
    return code.value


@click.command()
@sid_argument
@click.option("--body", default="", help="What is to stand there: Twilio takes only nothing.")
@json_option
@env_file_option
def redact(sid: str, *, body: str, as_json: bool, env_file: Path | None) -> int:
    """Empty a message's text at Twilio, for good."""
    acts.check_body(body)
    acts.check_sid(sid)
    with _refused(as_json=as_json) as code:
        _show(
            _change(
                env_file,
                lambda store, twilio: acts.redact(store, twilio, at_the_shell(), sid, body),
                lambda client: client.redact_twilio_message(sid),
            ),
            as_json=as_json,
        )
    return code.value


@click.command()
@sid_argument
@json_option
@env_file_option
def delete(sid: str, *, as_json: bool, env_file: Path | None) -> int:
    """Delete a message at Twilio, for good; one that is not finished yet it keeps.

    What may be a message of ours in doubt is refused until that is settled: it would be sent again.
    """
    acts.check_sid(sid)
    with _refused(as_json=as_json) as code:
        _change(
            env_file,
            lambda store, twilio: acts.delete(store, twilio, at_the_shell(), sid),
            lambda client: client.delete_twilio_message(sid),
        )
        if as_json:
            print_json({"sid": sid, "deleted": True})
        else:
            click.echo(f"Deleted at Twilio: {sid}")
    return code.value


@click.command()
@click.argument("message", metavar="ID|SID")
@json_option
@env_file_option
def cancel(message: str, *, as_json: bool, env_file: Path | None) -> int:
    """Stop a message: one of ours that has not left, by its ID; one that waits at Twilio, by its SID."""

    async def here(store: Store) -> dict[str, Any]:
        name = (id_of(message) or "") if theirs.is_sid(message) else message
        if not theirs.is_sid(message) or (name and await read_message(store, name)):
            view, attempts = await ours.cancel(store, at_the_shell(), name)
            return view.summary() | {"history": [attempt.summary() for attempt in attempts]}
        async with twilio_rest(settings_from(env_file)) as twilio:
            return await acts.cancel(store, twilio, at_the_shell(), message)

    def there(client: Client) -> dict[str, Any]:
        if not theirs.is_sid(message) or _is_ours(client, message):
            return client.cancel_message(message).raw
        return client.cancel_twilio_message(message)

    with _refused(as_json=as_json) as code:
        _show(at_hand(env_file, here, there), as_json=as_json)
    return code.value


def _is_ours(client: Client, sid: str) -> bool:
    """Whether a SID is one that we gave to a message that there is."""
    name = id_of(sid)
    try:
        return name is not None and client.message(sid).id == name
    except ApiError as error:
        if error.status != _NOT_FOUND:
            raise
        return False


def _change(
    env_file: Path | None,
    here: Callable[[Store, TwilioRest], Awaitable[_T]],
    there: Callable[[Client], _T],
) -> _T:
    """Change something at Twilio, beside the store, whose audit and ledger learn of it."""

    async def work(store: Store) -> _T:
        async with twilio_rest(settings_from(env_file)) as twilio:
            return await here(store, twilio)

    return at_hand(env_file, work, there)


class _Code:
    """The exit code that it comes to."""

    value = 0


@contextmanager
def _refused(*, as_json: bool) -> Iterator[_Code]:
    """Print what Twilio answered where it refuses: its code, message, more_info and HTTP status."""
    code = _Code()
    try:
        yield code
    except TwilioError as error:
        answered = error.as_answered()
        if as_json:
            print_json(answered)
        about = f", code {error.code}" if error.code else ""
        more = f" ({answered['more_info']})" if answered["more_info"] else ""
        text = harmless(error.message) or str(error)
        say(f"Error: Twilio answered HTTP {error.status}{about}: {text}{more}")
        code.value = FAILED


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        if value is not None and not isinstance(value, dict | list):
            click.echo(f"{name}: {harmless(str(value))}")
