"""The API in Redis' place: opening it, and its problems as the errors that a command has anyway."""

from __future__ import annotations

import contextlib
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from broadcaster.cli.exits import CommandFailedError, InputError
from broadcaster.client import ApiError, Client, ClientError, NotReached
from broadcaster.domain.verifications import START_FIELDS
from broadcaster.domain.verify_services import CHANGE_FIELDS
from broadcaster.operations.errors import Conflict, KeyReused, NotFound
from broadcaster.settings import SettingsError
from broadcaster.twilio.wire import TwilioError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broadcaster.settings import Settings

#: What fields of JSON are called on the command line.
_OPTIONS: Final = {
    "from": "--from",
    "messaging_service_sid": "--messaging-service",
    "content_variables": "--content-variables",
    "to_column": "--to-column",
    "region": "--region",
    "schedule_at": "--at",
    "zone": "--zone",
    "expires_in": "--expires-in",
    "media_urls": "--media-url",
    "content_sid": "--content-sid",
    "content_sids": "--content-sid",
    "language_column": "--language-column",
    "location": "--location",
    "outside_window": "--outside-window",
    "scheduler": "--scheduler",
    "fallback/content_sid": "--fallback-content-sid",
    "fallback/content_variables": "--fallback-content-variables",
    "sms_fallback/from": "--sms-fallback",
    "sms_fallback/body": "--sms-fallback-body",
    "test_to": "--test",
    "body": "--body",
    "draft": "--draft",
    "rate": "--rate",
    "name": "--name",
    "delimiter": "--delimiter",
    "encoding": "--encoding",
    "messages": "MESSAGE",
    "codes": "--code",
    "broadcast": "--broadcast",
    "reason": "--reason",
    **{
        name: "--" + name.replace("_", "-")
        for name in (*START_FIELDS, *CHANGE_FIELDS, "sid", "code")
        if name not in ("to", "content_sid")
    },
    "to": "TO",
    "service_sid": "--service",
}
#: A fault of one of these needs its name; others' texts quote the value.
_NAMED: Final = frozenset(
    (
        *("body", "media_urls", "content_sid", "content_variables", "reason", "name", "messages", "codes"),
        *(*START_FIELDS, *CHANGE_FIELDS, "sid", "code", "service_sid"),
    )
)
_MISSING: Final = re.compile(r"there is no (.+) (\S+?)\.?")


@contextlib.contextmanager
def api(settings: Settings) -> Iterator[Client]:
    """Give a client of the API that the settings name; what it raises becomes what `exits` knows.

    Raises SettingsError where no key is set, InputError, CommandFailedError, NotFound or Conflict.
    """
    if settings.api_key is None:
        raise SettingsError(
            "BROADCASTER_API_KEY (or BROADCASTER_API_KEY_FILE) is not set: BROADCASTER_API_URL needs a key "
            "of that API, which `broadcaster keys create` makes where its Redis is."
        )
    if "@" in urlsplit(settings.api_url or "").netloc:
        raise SettingsError(
            "BROADCASTER_API_URL holds a user or password: BROADCASTER_API_KEY says who asks."
        )
    try:
        client = Client(settings.api_url or "", settings.api_key.get_secret_value())
    except ValueError as error:
        raise SettingsError(f"BROADCASTER_API_KEY: {error}.") from None
    with client:
        try:
            yield client
        except ClientError as error:
            failed = explained(error, settings.api_url or "")
            for note in getattr(error, "__notes__", ()):
                failed.add_note(note)
            raise failed from None


def explained(error: ClientError, url: str) -> Exception:
    """Return what a command raises for an error of the client's."""
    match error:
        case NotReached(nothing_sent=True):
            return InputError(f"the API at {url} can't be reached: {error}. Check BROADCASTER_API_URL")
        case NotReached():
            done = ". What was asked may have been done" if error.may_be_done else ""
            return CommandFailedError(f"the API at {url} gave no whole answer: {error}{done}")
        case ApiError():
            return _problem(error, url)
    return InputError(f"{error}. Check BROADCASTER_API_URL")


def _problem(error: ApiError, url: str) -> Exception:  # noqa: PLR0911 - a line a kind
    if isinstance(answered := error.problem.get("twilio"), dict):
        return TwilioError.from_answer(answered)
    detail = _sentence(error.detail)
    match error.status:
        case HTTPStatus.UNAUTHORIZED:
            why = detail.partition(". ")[0]
            return InputError(f"the API does not take the key: {why}. Check BROADCASTER_API_KEY")
        case HTTPStatus.FORBIDDEN:
            return InputError(f"the key in BROADCASTER_API_KEY may not do this: {detail}")
        case HTTPStatus.NOT_FOUND | HTTPStatus.METHOD_NOT_ALLOWED:
            if found := _MISSING.fullmatch(error.detail):
                return NotFound(found[1], found[2])
            return InputError(f"there is no such thing at {url}: {detail}. Check BROADCASTER_API_URL")
        case HTTPStatus.CONFLICT if error.kind == "conflict":
            return Conflict(detail, state=str(error.problem.get("state", "")))
        case HTTPStatus.CONFLICT | HTTPStatus.TOO_MANY_REQUESTS:
            after = error.retry_after_seconds
            return CommandFailedError(detail + (f". Ask again in {after:.0f} s" if after else ""))
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        instance = error.problem.get("instance")
        return CommandFailedError(detail + (f" ({instance})" if instance else ""))
    return KeyReused() if error.kind == "idempotency-key-reused" else InputError(_faults(error, detail))


def _faults(error: ApiError, detail: str) -> str:
    """Return every fault with its place."""
    return faults_text(error.errors, detail)


def faults_text(errors: Sequence[dict[str, Any]], detail: str = "") -> str:
    """Return every fault with its place: in the words of one where there is one; `detail` where none is."""
    told = [_fault(fault, alone=len(errors) == 1) for fault in errors]
    if len(told) == 1:
        return told[0]
    return "\n  ".join((f"{len(told)} faults:", *told)) if told else detail


def _fault(fault: dict[str, Any], *, alone: bool) -> str:
    text = as_options(str(fault.get("detail", "")))
    if "line" in fault:
        column = f", {fault['column']}" if fault.get("column") else ""
        value = f" {fault['value']!r}" if fault.get("value") else ""
        return f"line {fault['line']}{column}:{value} {text}"
    place = str(fault.get("pointer") or fault.get("parameter") or "").lstrip("/")
    field = place if place in _OPTIONS else place.partition("/")[0]
    if not field or (alone and field not in _NAMED):
        return text
    return f"{_OPTIONS.get(field, field)}: {text}"


def as_options(text: str) -> str:
    """Return a text with the command line's options in place of fields of JSON."""
    for field, option in _OPTIONS.items():
        text = text.replace(f"`{field}`", option)
    return text.replace('"on_invalid": "skip"', "--rejects FILE")


def _sentence(text: str) -> str:
    return text.removesuffix(".")
