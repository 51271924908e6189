"""A template of Twilio's Content API: what it says, which variables it takes, if WhatsApp approved it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

APPROVED: Final = "approved"
#: What WhatsApp's approval of a template can be (Twilio's pages on the Content API's approvals); new ones may
#: come.
STATUSES: Final = ("unsubmitted", "received", "pending", APPROVED, "rejected", "paused", "disabled")
#: Meta's categories; older templates have others, like TRANSACTIONAL.
CATEGORIES: Final = ("marketing", "utility", "authentication")
_AUTHENTICATION: Final = "whatsapp/authentication"
_PLACEHOLDER: Final = re.compile(r"\{\{\s*([^{}\s]+)\s*\}\}")


class MessageTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """One template (HX…).

    `variables` are its defaults by placeholder, `placeholders` what its texts name, `body` the text of the
    first type that has one. `status` and `category` are WhatsApp's, in small letters, "" where nobody has
    said; other channels need no approval.
    """

    sid: str
    name: str = ""
    language: str = ""
    variables: dict[str, str] = {}
    placeholders: frozenset[str] = frozenset()
    types: tuple[str, ...] = ()
    body: str | None = None
    status: str = ""
    category: str = ""
    rejection_reason: str = ""

    @property
    def known(self) -> frozenset[str]:
        """The variables that may be given."""
        return self.placeholders | self.variables.keys()

    @property
    def required(self) -> list[str]:
        """The variables that must be given: the template has no default for them."""
        return sorted((key for key in self.placeholders if not self.variables.get(key)), key=_by_number)

    def summary(self) -> dict[str, Any]:
        """Return the object of `templates show --json` and the API, in JSON's types."""
        keys = sorted(self.known, key=_by_number)
        return {
            "sid": self.sid,
            "name": self.name,
            "language": self.language,
            "status": self.status or None,
            "category": self.category or None,
            "rejection_reason": self.rejection_reason or None,
            "types": list(self.types),
            "body": self.body,
            "variables": {key: self.variables.get(key) or None for key in keys},
            "required": self.required,
        }


def placeholders_in(types: Mapping[str, Any]) -> frozenset[str]:
    """Return the `{{ names }}` in all texts of a template's types.

    An authentication template's text is Meta's own and shown nowhere: its code is variable 1.
    """
    found = {name for text in _texts(types) for name in _PLACEHOLDER.findall(text)}
    return frozenset(found | {"1"} if _AUTHENTICATION in types else found)


def body_of(types: Mapping[str, Any]) -> str | None:
    """Return the text of the first type that has one."""
    bodies = (kind.get("body") for kind in types.values() if isinstance(kind, dict))
    return next((body for body in bodies if isinstance(body, str) and body), None)


def likeness(text: str) -> str:
    """Return a text with all its placeholders alike: two that are equal say the same word for word."""
    return " ".join(re.sub(r"\{\{.*?\}\}", "{{}}", text).split())


def _by_number(key: str) -> tuple[bool, int, str]:
    return (not key.isdecimal(), int(key) if key.isdecimal() else 0, key)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
