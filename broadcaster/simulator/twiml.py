"""Reading a customer's answer to an inbound message: TwiML, its `<Message>` only."""

from __future__ import annotations

from typing import NamedTuple
from xml.etree import ElementTree as ET

NO_TWIML = 12100


class Reply(NamedTuple):
    """What the customer wants sent back."""

    body: str
    media: tuple[str, ...]


class TwimlError(Exception):
    """The answer is no TwiML: Twilio logs 12100 and sends nothing."""


def replies_in(answer: bytes) -> list[Reply]:
    """Return the messages that TwiML asks for; an empty answer asks for none. Raises TwimlError."""
    if not answer.strip():
        return []
    try:
        # From the simulator's own user, and Python's parser knows no external entities.
        root = ET.fromstring(answer)  # noqa: S314
    except ET.ParseError as error:
        raise TwimlError(f"the answer is no XML: {error}") from None
    if root.tag != "Response":
        raise TwimlError(f"the answer's root is <{root.tag}>, not <Response>")
    return [_reply(message) for message in root if message.tag in ("Message", "Sms")]


def _reply(message: ET.Element) -> Reply:
    bodies = [message.text or "", *(part.text or "" for part in message if part.tag == "Body")]
    media = tuple((part.text or "").strip() for part in message if part.tag == "Media")
    return Reply("".join(bodies).strip(), media)
