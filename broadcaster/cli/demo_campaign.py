"""What the demo sends: two lists with the usual dirt in them, five senders, and what Twilio will answer whom.

Everything follows from the number of recipients, so that two runs differ in speed alone. The numbers are made
up and never leave this machine.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from broadcaster.domain.broadcast import Priority
from broadcaster.domain.content import Template
from broadcaster.domain.senders import SenderShare

if TYPE_CHECKING:
    from pathlib import Path

MOST_RECIPIENTS: Final = 1_000_000
CHAT_SENDER: Final = "whatsapp:+14155550111"
#: Sender to the segments a second that Twilio gives one of its kind.
USUAL_RATES: Final = {
    "72975": 100.0,
    CHAT_SENDER: 80.0,
    "FloodAlert": 10.0,
    "+18335550100": 3.0,
    "+14155550100": 1.0,
}
URGENT_SENDER: Final = "72975"
#: What WhatsApp lets us say to who has not written to us for a day.
TEMPLATE_SID: Final = "HX0000000000000000000000000000f100"
TEMPLATE_TEXT: Final = "Flood warning for {{1}}: the water is rising. Please go to {{2}}."
#: So many at most have written to us today.
_WRITERS: Final = 400
#: One row in so many goes to the second, urgent list.
_URGENT_SHARE: Final = 25
_MOST_AT_ONCE: Final = 2500.0
_FIRST_NAMES: Final = (
    "Ana",
    "Ben",
    "Carla",
    "Dmitri",
    "Elena",
    "Farid",
    "Grace",
    "Hiro",
    "Ines",
    "José",
    "Mei",
    "Noor",
    "Olga",
    "Pedro",
    "Quinn",
    "Rosa",
    "Sven",
    "Uma",
    "Wanda",
    "Yusuf",
)
_SHELTERS: Final = ("the school", "the library", "the town hall", "the north gym")
_BAD_NUMBERS: Final = ("n/a", "+1 415 55", "call my son", "+1415555012345678")
#: What Twilio says to one row in 250 each: too old a number, a landline, somebody who replied STOP, …
_REFUSALS: Final = {5: "21211", 55: "21614", 105: "21610", 225: "21408"}
#: … and where it leaves open whether it took the message.
_DOUBTS: Final = {155: "unavailable", 205: "drop_after"}


@dataclass(slots=True)
class List:
    """One broadcast of the demo: its rows (name, phone, place), and who opted out before it starts."""

    name: str
    priority: Priority
    body: str
    senders: dict[str, float]
    fallback: Template | None = None
    rows: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass(slots=True)
class Campaign:
    """The whole demo. `wrote`: who has written to us on WhatsApp today, so that free text may go to them.

    `answers` is the simulator's `recipients`: who meets which fault, try by try.
    """

    rates: dict[str, float]
    lists: tuple[List, List]
    opted_out: list[str] = field(default_factory=list)
    wrote: list[str] = field(default_factory=list)
    answers: dict[str, str | list[str]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows the lists have together."""
        return sum(len(one.rows) for one in self.lists)


def target_seconds(recipients: int) -> float:
    """Return how long sending should take: long enough to watch, and no longer than it must."""
    return max(min(18.0, recipients / 200), min(40.0, recipients / 500), recipients / _MOST_AT_ONCE)


def plan(recipients: int) -> Campaign:
    """Make up the campaign for that many rows, 1 to `MOST_RECIPIENTS`."""
    usual = sum(USUAL_RATES.values())
    factor = max(1.0, recipients / target_seconds(recipients) / usual)
    rates = {sender: round(rate * factor, 2) for sender, rate in USUAL_RATES.items()}
    everybody = List(
        "Flood warning",
        Priority.NORMAL,
        "Hi {{ name }}, the water is rising. Please go to {{ place }}.",
        rates,
        Template(TEMPLATE_SID, {"1": "{{ name }}", "2": "{{ place }}"}),
    )
    urgent = List(
        "Low streets first",
        Priority.URGENT,
        "{{ name }}, leave now: the water reaches {{ place }} within the hour.",
        {URGENT_SENDER: rates[URGENT_SENDER]},
    )
    campaign = Campaign(rates, (everybody, urgent))
    urgent_rows = recipients // _URGENT_SHARE
    for index in range(recipients - urgent_rows):
        _add_row(campaign, everybody, index)
    for index in range(recipients - urgent_rows, recipients):
        urgent.rows.append((_name(index), _number(index), f"Mill Lane {index % 90 + 1}"))
    _fill_one_queue(campaign, everybody)
    chats = [phone for _, phone, _ in everybody.rows if phone.startswith("whatsapp:+")]
    campaign.wrote += chats[::2][:_WRITERS]
    return campaign


def write_list(one: List, path: Path) -> None:
    """Write a list as the CSV that a person would have."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("name", "phone", "place"))
        writer.writerows(one.rows)


def _number(index: int) -> str:
    return f"+1{201 + index // 10_000}555{index % 10_000:04d}"


def _address(index: int) -> str:
    """Return the row's recipient; so many are on WhatsApp that all senders end together."""
    return f"whatsapp:{_number(index)}" if index * 43 % 100 < 43 else _number(index)  # noqa: PLR2004 - percent


def _name(index: int) -> str:
    return _FIRST_NAMES[index * 7 % len(_FIRST_NAMES)]


#: One in so many is told to come again once: a few 429 that have nothing to do with how many are in flight.
_STRAY: Final = 60


def _add_row(campaign: Campaign, one: List, index: int) -> None:
    """Add a row, and whatever is odd about it."""
    address, name, place = _address(index), _name(index), _SHELTERS[index % len(_SHELTERS)]
    match index % 100:
        case 13:
            one.rows.append((name, _BAD_NUMBERS[index // 100 % len(_BAD_NUMBERS)], place))
            return
        case 87:
            one.rows.append(("", address, place))  # nobody is greeted as "Hi ,"
            return
        case 37:
            again = _number(index - 30)
            written = f"({again[2:5]}) {again[5:8]}-{again[8:]}"
            chat = _address(index - 30) != again
            one.rows.append((name, f"whatsapp:{again}" if chat else written, place))
            return
        case 61:
            campaign.opted_out.append(address)
        case _:
            fault = _REFUSALS.get(index % 250) or _DOUBTS.get(index % 250)
            if not fault and index % _STRAY == _STRAY - 1:
                campaign.answers[address] = ["throttle"]
            elif fault:
                known = fault == "21211" or not fault.isdecimal() or not address.startswith("whatsapp:")
                campaign.answers[address] = fault if known else "63024"
    one.rows.append((name, address, place))


def _fill_one_queue(campaign: Campaign, one: List) -> None:
    """Let one sender's queue at Twilio be full once, a third into the list: it is held, the others go on."""
    names = list(one.senders)
    pick = SenderShare(list(one.senders.items())).pick
    gone = set(campaign.opted_out)
    for name, phone, _ in one.rows[len(one.rows) // 3 :]:
        fits = phone[:1] == "+" and phone[1:].isdecimal() and name and phone not in gone
        if fits and phone not in campaign.answers and names[pick(phone)] == "FloodAlert":
            campaign.answers[phone] = ["queue_full"]
            return
