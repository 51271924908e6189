"""Whether single values are what Create Message takes: SIDs, addresses, JSON, senders."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

import msgspec

from broadcaster.domain.addresses import AddressError, Channel
from broadcaster.domain.senders import SenderKind, parse_sender

MAX_URL_CHARACTERS: Final = 4000
_HEX: Final = re.compile(r"[0-9a-fA-F]{32}")
_SPACE: Final = re.compile(r"\s")


def is_sid(sid: str | None, prefix: str) -> bool:
    """Whether this is a SID with this prefix, or none at all."""
    return sid is None or (sid.startswith(prefix) and _HEX.fullmatch(sid[2:]) is not None)


def is_web_url(text: str) -> bool:
    """Whether this is the address of something on the web."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not _SPACE.search(text)


def is_callback(url: str | None) -> bool:
    """Whether Twilio would call this address (21609), or none is given."""
    if url is None:
        return True
    return is_web_url(url) and len(url) <= MAX_URL_CHARACTERS and "_" not in (urlsplit(url).hostname or "")


def is_text_map(text: str | None) -> bool:
    """Whether this is a JSON object of texts, or nothing."""
    try:
        return text is None or msgspec.json.decode(text, type=dict[str, str]) is not None
    except msgspec.DecodeError:
        return False


def sends_sms(name: str) -> bool:
    """Whether this is the name of a sender that sends SMS, and no service."""
    try:
        sender = parse_sender(name)
    except AddressError:
        return False
    return sender.channel is Channel.SMS and sender.kind is not SenderKind.SERVICE
