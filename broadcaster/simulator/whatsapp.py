"""WhatsApp's rules: who may be written to, when, and with which template.

Source: Twilio's pages on WhatsApp (24-hour window, sandbox, template states) and its error dictionary. Twilio
takes these messages with a 201; they fail on delivery.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from broadcaster.simulator.senders import SANDBOX
from broadcaster.simulator.templates import SESSION_ONLY, given, placeholders, richest

if TYPE_CHECKING:
    from broadcaster.simulator.config import SimulatorConfig
    from broadcaster.simulator.forms import Form
    from broadcaster.simulator.messages import Message

WINDOW_SECONDS: Final = 86_400.0
JOINED_SECONDS: Final = 3 * 86_400.0
NOT_JOINED: Final = 63015
WINDOW_CLOSED: Final = 63016
TIER_SPENT: Final = 63018
TOO_LONG: Final = 63021
MAX_TEMPLATE: Final = 1024
WRONG_VARIABLES: Final = 63028
BAD_PARAMETER: Final = 63030
MARKETING_WITHHELD: Final = 63049
JOINED: Final = "You are in the sandbox now. Reply stop to leave."
_REFUSED: Final = {"rejected": 63040, "paused": 63041, "disabled": 63042}
_JOIN: Final = re.compile(r"join\s+(\S.*)", re.IGNORECASE)
_GEO: Final = re.compile(r"geo:(-?\d{1,2}(?:\.\d+)?),(-?\d{1,3}(?:\.\d+)?)(?:\|.*)?")
_TIER: Final = re.compile(r"(\d+)(K?) ", re.IGNORECASE)


class Chats:
    """Who wrote to which WhatsApp sender when, who joined the sandbox, whom each sender wrote to first."""

    def __init__(self) -> None:
        self._heard: dict[tuple[str, str], float] = {}
        self._joined: dict[str, float] = {}
        self._begun: dict[str, dict[str, float]] = {}

    def hear(self, person: str, sender: str, body: str, config: SimulatorConfig, now: float) -> str:
        """Note that a person wrote to a sender; returns what the sandbox itself answers to a `join`."""
        self._heard[sender, person] = now
        if sender == SANDBOX and body.strip().lower() == "stop":
            self._joined.pop(person, None)
        joins = _JOIN.fullmatch(body.strip()) if sender == SANDBOX else None
        if joins is None or config.sandbox_code not in ("", joins[1]):
            return ""
        self._joined[person] = now
        return JOINED

    def windows(self, now: float) -> dict[str, dict[str, float]]:
        """Return the control API's `windows`: by sender and person, the seconds that are left."""
        left: dict[str, dict[str, float]] = {}
        for (sender, person), at in self._heard.items():
            if self.open(sender, person, now):
                left.setdefault(sender, {})[person] = at + WINDOW_SECONDS - now
        return left

    def open(self, sender: str, person: str, at: float) -> bool:
        """Whether the sender may write freely to that person at this moment."""
        return at < self._heard.get((sender, person), float("-inf")) + WINDOW_SECONDS

    def failure(self, form: Form, sender: str, body: str, config: SimulatorConfig, leaves: float) -> int:
        """Return the code that a message, leaving at that moment, ends with; 0 where it arrives."""
        fields = form.fields
        person = fields["To"]
        number = person.removeprefix("whatsapp:")
        absent = next((code for part, code in config.not_on_whatsapp.items() if number.startswith(part)), 0)
        if absent:
            return absent
        if sender == SANDBOX and leaves >= self._joined.get(person, float("-inf")) + JOINED_SECONDS:
            return NOT_JOINED
        is_open = self.open(sender, person, leaves)
        if "ContentSid" in fields:
            code = _of_template(fields, body, config, is_open=is_open)
            return code or (0 if is_open else self._tier(sender, person, config, leaves))
        if any(not _is_place(action) for action in form.actions):
            return BAD_PARAMETER
        return WINDOW_CLOSED if config.whatsapp_window and not is_open else 0

    def _tier(self, sender: str, person: str, config: SimulatorConfig, at: float) -> int:
        """Take a person from the sender's messaging limit; it counts for senders that the config names."""
        own = config.whatsapp_senders.get(sender)
        limit = _TIER.match(own.messaging_limit) if own else None
        if limit is None:
            return 0
        begun = self._begun.setdefault(sender, {})
        while begun and next(iter(begun.values())) <= at - WINDOW_SECONDS:
            del begun[next(iter(begun))]
        if person in begun:
            return 0
        if len(begun) >= int(limit[1]) * (1000 if limit[2] else 1):
            return TIER_SPENT
        begun[person] = at
        return 0


def reopen(messages: list[Message], sender: str, now: float) -> None:
    """Let scheduled messages through whose window was closed when they were made: the person wrote since."""
    for message in messages:
        waits = message.scheduled_at > now and message.outcome == WINDOW_CLOSED
        if waits and message.sender == sender and message.leaves_at < now + WINDOW_SECONDS:
            message.outcome = 0


def _of_template(fields: dict[str, str], body: str, config: SimulatorConfig, *, is_open: bool) -> int:
    """Return what is wrong with a message made of a template. Inside the window no approval is needed."""
    template = config.templates[fields["ContentSid"]]
    if template.failure:
        return template.failure
    if template.status in _REFUSED:
        return _REFUSED[template.status]
    approved = template.status == "approved" and richest(template, whatsapp=True) not in SESSION_ONLY
    if not approved and not is_open:
        return WINDOW_CLOSED
    wanted, named = placeholders(template), given(fields.get("ContentVariables")).keys()
    if named - wanted or wanted - named - template.variables.keys():
        return WRONG_VARIABLES
    if len(body) > MAX_TEMPLATE:
        return TOO_LONG
    american = fields["To"].startswith("whatsapp:+1")
    withheld = config.withholds_us_marketing and template.category == "MARKETING" and american
    return MARKETING_WITHHELD if withheld else 0


def _is_place(action: str) -> bool:
    found = _GEO.fullmatch(action)
    return found is not None and abs(float(found[1])) <= 90 and abs(float(found[2])) <= 180  # noqa: PLR2004  degrees
