"""Who told Twilio to stop, and whose words Twilio itself understands.

Source: Twilio's pages on opt-out keywords, Advanced Opt-Out, toll-free numbers and short codes (2026).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broadcaster.simulator.senders import is_number, is_toll_free, is_whatsapp

if TYPE_CHECKING:
    from broadcaster.simulator.config import SimulatorConfig

OPTED_OUT: Final = 21610
STOP_WORDS: Final = frozenset(["STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"])
START_WORDS: Final = frozenset(["START", "YES", "UNSTOP"])
HELP_WORDS: Final = frozenset(["HELP", "INFO"])
ANSWERS: Final = {
    "STOP": "You will get no more messages from this number. Reply START to get them again.",
    "START": "You get messages from this number again. Reply HELP for help, STOP to get no more.",
    "HELP": "Reply STOP to get no more messages. Message and data rates may apply.",
}


def service_of(number: str, config: SimulatorConfig) -> str | None:
    """Return the service whose pool this number is in."""
    return next((sid for sid, service in config.services.items() if number in service.senders), None)


def meaning(body: str, number: str, config: SimulatorConfig) -> str:
    """Return `STOP`, `START`, `HELP` or nothing: what Twilio takes a text to one of our numbers for.

    The whole body is the word. Twilio leaves WhatsApp alone, and a short code that is in no service.
    """
    if is_whatsapp(number) or not (is_number(number) or service_of(number, config)):
        return ""
    word = body.strip().upper()
    if word in STOP_WORDS:
        return "STOP"
    if word in START_WORDS:
        return "" if word == "YES" and is_toll_free(number) else "START"
    return "HELP" if word in HELP_WORDS else ""


class OptOuts:
    """Twilio's own list: scopes (a number, or the service it is in) and who stopped there."""

    def __init__(self) -> None:
        self.people: dict[str, set[str]] = {}

    def summary(self) -> dict[str, list[str]]:
        """Return the control API's `optouts`."""
        return {scope: sorted(people) for scope, people in self.people.items() if people}

    def take(self, word: str, person: str, number: str, config: SimulatorConfig) -> bool:
        """Act on a word; returns whether Twilio answers it: a STOP after a STOP gets no answer."""
        scope = service_of(number, config) or number
        stopped = self.people.setdefault(scope, set())
        before = person in stopped
        if word == "STOP":
            stopped.add(person)
            return not before
        if word == "START":
            stopped.discard(person)
            return before
        return True

    def refuse(self, fields: dict[str, str], config: SimulatorConfig) -> int:
        """Return 21610 where the recipient stopped this sender or service, else 0."""
        if not self.people:
            return 0
        sender = fields.get("From", "")
        scope = fields.get("MessagingServiceSid") or service_of(sender, config) or sender
        return OPTED_OUT if fields["To"] in self.people.get(scope, ()) else 0
