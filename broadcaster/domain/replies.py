"""A reply as Twilio tells of it (DOC:messaging/guides/webhook-request), as a value of bounded size.

What we have never heard of is passed over; nothing in a form makes this fail.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Final

import msgspec

from broadcaster.domain.addresses import AddressError, is_e164
from broadcaster.domain.senders import SenderKind, parse_sender
from broadcaster.domain.words import Meaning

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST: Final = 500
_LONGEST_BODY: Final = 20_000
_LONGEST_URL: Final = 2000
_MEDIA_MOST: Final = 20
_ID: Final = re.compile(r"[A-Za-z0-9]{2,64}")
_SERVICE: Final = re.compile(r"MG[0-9a-fA-F]{32}")
_DIGEST_BYTES: Final = 12


class Media(msgspec.Struct, frozen=True):
    """A picture, sound or film. `url` is at Twilio, which asks for the account's credentials there."""

    url: str
    type: str = ""


class Location(msgspec.Struct, frozen=True):
    """Where somebody says that they are (WhatsApp), as Twilio writes it."""

    latitude: str
    longitude: str
    address: str = ""
    label: str = ""


class Button(msgspec.Struct, frozen=True):
    """Which button of a template was pressed (WhatsApp)."""

    text: str
    payload: str = ""


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What somebody wrote to one of our senders; `id` is Twilio's SID of it.

    `person` is an address as `parse_address` gives it, or, where Twilio tells no number (a WhatsApp user id,
    a short code, another channel), what it tells. `replied_to`: the SID that it says it answers;
    `message`: our id of the message that it most likely answers, "" if none is known.
    """

    id: str
    person: str
    sender: str
    service: str = ""
    body: str = ""
    media: tuple[Media, ...] = ()
    location: Location | None = None
    button: Button | None = None
    profile_name: str = ""
    user_id: str = ""
    replied_to: str = ""
    opt_out_type: str = ""
    meaning: Meaning = Meaning.OTHER
    message: str = ""

    @property
    def has_number(self) -> bool:
        """Whether `person` can be written to, and so opted out, by number."""
        return is_e164(self.person.removeprefix("whatsapp:"))

    @property
    def scopes(self) -> tuple[str, ...]:
        """What an opt-out word is about: the service, and the sender itself, whichever way it is used.

        Twilio's own list is the service's where a number is in one; who wrote STOP to a number must not hear
        from it as a plain sender either.
        """
        return tuple(filter(None, (self.service, self.sender)))

    @property
    def sender_kind(self) -> SenderKind | None:
        """What it was written to; None for a channel that we don't know."""
        try:
            return parse_sender(self.sender).kind
        except AddressError:
            return None

    @property
    def digest(self) -> str:
        """What stands for the person in names of keys and their members."""
        return digest_of(self.person)


def digest_of(person: str) -> str:
    """Return 16 letters that stand for a person where their number must not.

    It hides nothing from whoever tries all numbers: it goes when what it leads to goes.
    """
    return urlsafe_b64encode(hashlib.blake2b(person.encode(), digest_size=_DIGEST_BYTES).digest()).decode()


def read_reply(fields: Mapping[str, str]) -> Reply:
    """Read the parameters of an inbound webhook."""
    reply = Reply(
        id=_id(fields),
        person=_person(_text(fields, "From")),
        sender=_text(fields, "To"),
        service=_service(fields),
        body=_text(fields, "Body", _LONGEST_BODY),
        media=_media(fields),
        profile_name=_text(fields, "ProfileName"),
        user_id=_text(fields, "ExternalUserId"),
        replied_to=_text(fields, "OriginalRepliedMessageSid"),
        opt_out_type=_text(fields, "OptOutType"),
    )
    latitude, longitude = _text(fields, "Latitude"), _text(fields, "Longitude")
    if latitude and longitude:
        place = Location(latitude, longitude, _text(fields, "Address"), _text(fields, "Label"))
        reply = msgspec.structs.replace(reply, location=place)
    if _text(fields, "ButtonText") or _text(fields, "ButtonPayload"):
        button = Button(_text(fields, "ButtonText"), _text(fields, "ButtonPayload"))
        reply = msgspec.structs.replace(reply, button=button)
    return reply


def _id(fields: Mapping[str, str]) -> str:
    """Return Twilio's SID; without one, a name that the same form gets again."""
    for name in ("MessageSid", "SmsMessageSid", "SmsSid"):
        found = _text(fields, name)
        if _ID.fullmatch(found):
            return found
    whole = msgspec.json.encode(sorted((_clean(name), _clean(value)) for name, value in fields.items()))
    return "SM" + hashlib.blake2b(whole, digest_size=16).hexdigest()


def _person(text: str) -> str:
    # an RCS user is a number, too, and on the same opt-out list since 2026 (SUP:223134027)
    return text.removeprefix("rcs:") if is_e164(text.removeprefix("rcs:")) else text


def _service(fields: Mapping[str, str]) -> str:
    found = _text(fields, "MessagingServiceSid")
    return found if _SERVICE.fullmatch(found) else ""


def _media(fields: Mapping[str, str]) -> tuple[Media, ...]:
    found = []
    for number in range(_MEDIA_MOST):
        url = _text(fields, f"MediaUrl{number}", _LONGEST_URL)
        if not url:
            break
        found.append(Media(url, _text(fields, f"MediaContentType{number}")))
    return tuple(found)


def _text(fields: Mapping[str, str], name: str, most: int = _LONGEST) -> str:
    return _clean(fields.get(name, ""))[:most]


def _clean(text: str) -> str:
    """Return what can be written as UTF-8."""
    return text.encode("utf-8", "replace").decode()
