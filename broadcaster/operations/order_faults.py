"""Faults of an order, in the words of whoever wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broadcaster.domain.addresses import AddressError
from broadcaster.domain.senders import NoSenderError
from broadcaster.domain.times import TimeError
from broadcaster.operations.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable


def told(pointer: str, read: Any, value: Any) -> Iterable[Fault]:
    """Yield what `read` says is wrong with a value."""
    try:
        read(value)
    except (AddressError, NoSenderError, TimeError, ValueError) as error:
        yield Fault(as_fields(str(error)), pointer)


#: What errors name as the command line has it, and what a field of JSON is called for it.
_FIELDS: Final = (
    ("--messaging-service", "`messaging_service_sid`"),
    ("--fallback-content-variables", "`fallback/content_variables`"),
    ("--fallback-content-sid HX…", "`fallback`"),
    ("--fallback-content-sid", "`fallback`"),
    ("--outside-window send", '`"outside_window": "send"`'),
    ("--sms-fallback-body", "`sms_fallback/body`"),
    ("--sms-fallback", "`sms_fallback`"),
    ("--content-sid de=HX…", "`content_sids`"),
    ("--language-column COLUMN", "`language_column`"),
    ("--language-column", "`language_column`"),
    ("--content-variables", "`content_variables`"),
    ("--to-column COLUMN", "`to_column`"),
    ("--from", "`from`"),
    ("--encoding", "`encoding`"),
    ("--region", "`region`"),
    ("--send-window", "`send_window`"),
    ("--ignore-window", "`ignore_window`"),
    ("--consent-column COLUMN", "`consent_column`"),
    ("--consent SOURCE,TIME", "`consent`"),
    ("--zone", "`zone`"),
)


def as_fields(text: str) -> str:
    """Return an error's text with fields in place of the command line's options."""
    for option, name in _FIELDS:
        text = text.replace(option, name)
    return text
