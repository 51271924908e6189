"""Which media each channel takes, and how large.

MMS: jpeg, gif and png up to 5 MB, other types 500 KB (Create Message, parameter MediaUrl, in Twilio's OpenAPI
file; the types from Twilio's "Accepted content types for media"); all media of one message together 5 MB.
WhatsApp: images 5 MB, everything else 16 MB, one file a message, whose text is shown only with images and
video (Twilio's "Guidance on WhatsApp media messages"). Twilio goes by the Content-Type of the URL (12300).
MB and KB are taken for powers of two: what is refused here is too large either way.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.message import Message
from typing import TYPE_CHECKING, Final

from broadcaster.domain.addresses import Channel

if TYPE_CHECKING:
    from collections.abc import Mapping

_KB: Final = 1024
_MB: Final = 1024 * _KB
MMS_TOTAL_BYTES: Final = 5 * _MB
_OFFICE: Final = "application/vnd.openxmlformats-officedocument."
_DOCUMENTS: Final = (
    "application/msword", "application/pdf", "application/vcard", "application/vnd.ms-excel",
    "application/vnd.ms-powerpoint", f"{_OFFICE}presentationml.presentation",
    f"{_OFFICE}spreadsheetml.sheet", f"{_OFFICE}wordprocessingml.document", "text/vcard", "text/x-vcard",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MediaRule:
    """What holds for a type on a channel: at most so many bytes; whether a text may stand with it."""

    most: int
    with_text: bool = True


_MMS: Final[Mapping[str, MediaRule]] = {
    **dict.fromkeys(("image/jpeg", "image/jpg", "image/gif", "image/png"), MediaRule(5 * _MB)),
    **dict.fromkeys(
        (
            "audio/3gpp", "audio/3gpp2", "audio/aac", "audio/ac3", "audio/amr", "audio/amr-nb", "audio/basic",
            "audio/l24", "audio/mp4", "audio/mpeg", "audio/ogg", "audio/vnd.rn-realaudio", "audio/vnd.wave",
            "audio/vorbis", "audio/webm",
            "image/bmp", "image/heic", "image/heif", "image/tiff",
            "text/calendar", "text/csv", "text/directory", "text/richtext", "text/rtf",
            "video/3gpp", "video/3gpp-tt", "video/3gpp2", "video/h261", "video/h263", "video/h263-1998",
            "video/h263-2000", "video/h264", "video/mp4", "video/mpeg", "video/mpeg4", "video/quicktime",
            "video/webm", "application/vnd.apple.pkpass", *_DOCUMENTS,
        ),
        MediaRule(500 * _KB),
    ),
}  # fmt: skip
_WHATSAPP: Final[Mapping[str, MediaRule]] = {
    **dict.fromkeys(("image/jpeg", "image/jpg", "image/png"), MediaRule(5 * _MB)),
    "image/webp": MediaRule(5 * _MB, with_text=False),  # a sticker
    "video/mp4": MediaRule(16 * _MB),
    **dict.fromkeys(
        (
            "audio/3gpp", "audio/aac", "audio/amr", "audio/mpeg", "audio/ogg", *_DOCUMENTS
        ),
        MediaRule(16 * _MB, with_text=False),
    ),
}  # fmt: skip
RULES: Final[Mapping[Channel, Mapping[str, MediaRule]]] = {Channel.SMS: _MMS, Channel.WHATSAPP: _WHATSAPP}
#: Beyond this a file is too large for every channel.
MOST_BYTES: Final = max(rule.most for rules in RULES.values() for rule in rules.values())
_NAMES: Final = {Channel.SMS: "MMS", Channel.WHATSAPP: "WhatsApp"}


def parsed_type(content_type: str) -> tuple[str, str]:
    """Return a Content-Type in lower case without its parameters, and its codecs ("" for none)."""
    header = Message()
    header["Content-Type"] = content_type
    kind = (
        header.get_content_type() if "/" in content_type.partition(";")[0] else content_type.strip().lower()
    )
    codecs = header.get_param("codecs", "")
    return kind, codecs.lower() if isinstance(codecs, str) else ""


def media_fault(channel: Channel, content_type: str, length: int) -> str:
    """Say why a channel does not take a file of this type and length; "" if it does."""
    name = _NAMES[channel]
    if not content_type.strip():
        return "its server names no Content-Type, by which Twilio goes (12300)"
    kind, codecs = parsed_type(content_type)
    rule = RULES[channel].get(kind)
    if rule is None:
        return f"{name} takes no {kind[:80]} (12300): its server's Content-Type must be one of those it takes"
    if channel is Channel.WHATSAPP and kind == "audio/ogg" and codecs not in ("", "opus"):
        return f"WhatsApp takes audio/ogg only with opus, not {codecs[:80]}"
    if length > rule.most:
        return f"it is larger than {_size(rule.most)}, which {name} takes of {kind} at most"
    return ""


def media_hint(channel: Channel, content_type: str, *, with_text: bool) -> str:
    """Say what a channel does with a file that it takes which its sender may not expect; "" for nothing."""
    kind, _ = parsed_type(content_type)
    rule = RULES[channel].get(kind)
    if with_text and rule is not None and not rule.with_text:
        return f"{_NAMES[channel]} shows no text with {kind}: the body may be lost"
    return ""


def _size(length: int) -> str:
    return f"{length // _MB} MB" if length >= _MB else f"{length // _KB} KB"
