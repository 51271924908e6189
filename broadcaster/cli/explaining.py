"""What each error is to whoever typed the command: one message and an exit code."""

from __future__ import annotations

from typing import Final

from redis.exceptions import RedisError

from broadcaster.cli.exits import BAD_INPUT, FAILED, CommandFailedError, InputError
from broadcaster.domain.addresses import AddressError
from broadcaster.domain.content import ContentError
from broadcaster.domain.senders import NoSenderError
from broadcaster.intake.faults import ListError, ListRefusedError
from broadcaster.intake.submit import NotConfirmedError, SubmissionError
from broadcaster.operations.errors import (
    Conflict,
    InDoubt,
    Invalid,
    KeyReused,
    Limited,
    NotFound,
    Refused,
    UnderWay,
)
from broadcaster.settings import SettingsError
from broadcaster.store.errors import OtherAccount, StoreError, Unreachable, WrongServer
from broadcaster.store.server_binary import EmbeddedServerError
from broadcaster.twilio.rest import TwilioError, TwilioUnreachable

#: What shows the names there are.
_SHOWN_BY: Final = {
    "broadcast": "`broadcaster broadcasts list` shows them",
    "message": "`broadcaster messages list --to NUMBER` and `broadcaster dead-letters list` show ids",
    "sender": "`broadcaster senders list` shows them",
    "template": "`broadcaster templates list` shows them",
    "key": "`broadcaster keys list` shows ids",
}

_BAD_INPUT: Final = (
    InputError,
    NotFound,
    Invalid,
    Refused,
    KeyReused,
    SettingsError,
    AddressError,
    NoSenderError,
    ContentError,
    ListError,
    SubmissionError,
    EmbeddedServerError,
    OtherAccount,
    Unreachable,
    WrongServer,
)


def explain(error: Exception) -> tuple[int, str] | None:
    """Return the exit code and what to print; None for what is a bug of ours and wants its traceback."""
    if isinstance(error, NotConfirmedError):
        return FAILED, "Nothing was sent."
    if isinstance(error, ListRefusedError):
        return BAD_INPUT, _refused_list(error)
    told = _faults(error) if isinstance(error, Invalid) else str(error)
    text = "\n".join((f"Error: {told}", *getattr(error, "__notes__", ())))
    if isinstance(error, Limited | UnderWay):
        return FAILED, f"{text}. Ask again in {error.retry_after_seconds:.0f} s"
    if isinstance(error, NotFound) and error.what in _SHOWN_BY:
        text = f"{text}: {_SHOWN_BY[error.what]}"
    if isinstance(error, _BAD_INPUT):
        return BAD_INPUT, text
    if isinstance(error, RedisError | OSError | StoreError | TwilioError | TwilioUnreachable):
        return FAILED, text
    return (FAILED, text) if isinstance(error, CommandFailedError | Conflict | InDoubt) else None


def _faults(error: Invalid) -> str:
    """Return every fault with its option, as over an API."""
    from broadcaster.cli.over_api import faults_text  # noqa: PLC0415 - only a fault needs it

    return faults_text([{"detail": fault.detail, "pointer": fault.pointer} for fault in error.faults])


def _refused_list(error: ListRefusedError) -> str:
    lines = [f"Error: {error}"]
    for fault in error.shown:
        column = f", {fault.column}" if fault.column else ""
        value = f" {fault.value!r}" if fault.value else ""
        lines.append(f"  line {fault.line}{column}:{value} {fault.reason}")
    if error.total > len(error.shown):
        lines.append(f"  … and {error.total - len(error.shown):,} more")
    return "\n".join(lines)
