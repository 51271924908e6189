"""Failures: which codes, what they mean and where Twilio explains them; doubt, opt-outs, deliveries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from board import Section, board
from panels import BLUE, GREEN, RED, YELLOW, graph, number, steps
from people_and_deliveries import deliveries, people
from queries import Query, grown, rate, rates_by
from tables import Column, rows

from broadcaster.twilio.codes import CODES

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import Dashboard
    from panels import Placed

_NO_EXPORTER: Final = "no exporter is scraped"
_NO_WORKER: Final = "no worker is scraped"
_OPTED_OUT: Final = 'broadcaster_opt_outs_total{source=~"reply|twilio"}'
_NOT_ACCEPTED: Final = 'broadcaster_messages_total{outcome!="accepted"}'
TWILIO_PAGE: Final = "https://www.twilio.com/docs/api/errors/${__value.raw}"
#: What each code means, and a colour for what it is about.
MEANINGS: Final = {
    **{
        str(code.code): (code.meaning, RED if code.remedy in {"account", "sender", "content"} else BLUE)
        for code in sorted(CODES.values(), key=lambda code: code.code)
    },
    "no_answer": ("no answer came, a timeout or a reset: in doubt", YELLOW),
    "not_sent": ("Twilio could not be reached: not sent, tried again", YELLOW),
    "other": ("a code that our table does not know: the logs and the ledger have it", YELLOW),
}


def failures() -> Dashboard:
    """Return the dashboard of everything that was not delivered, and why."""
    return board(
        "broadcaster-failures",
        "Broadcaster / Failures",
        "Which messages fail, with which codes, what the codes mean; what is in doubt and how it is settled.",
        [
            Section("Is anything wrong?", _wrong()),
            Section("By code", _codes()),
            Section("Outcomes of POSTs", _outcomes()),
            Section("Doubt and dead letters", _doubt()),
            Section("People left out, and who opts out", people()),
            Section("Deliveries, as carriers report them", deliveries()),
        ],
        since="now-6h",
    )


def _wrong() -> list[Placed]:
    oldest = "broadcaster_in_doubt_oldest_timestamp_seconds"
    return [
        number(
            "Duplicates that we caused",
            "Recipients found to have got a message twice, in the time shown. Must be 0; anything else "
            "breaks the promise: keep the logs (`duplicate.caused`), see the runbook.",
            Query(f"sum({grown('broadcaster_duplicates_caused_total')})"),
            width=8,
            height=8,
            decimals=0,
            levels=steps((0.001, RED)),
            empty=_NO_WORKER,
        ),
        number(
            "How many are in doubt?",
            "Sent, perhaps: no answer came. Twilio's list settles them within minutes.",
            Query('max(broadcaster_queue_messages{state="in_doubt"})'),
            levels=steps((1, YELLOW)),
            empty=_NO_EXPORTER,
        ),
        number(
            "For how long is the oldest in doubt?",
            "Longer than 15 minutes: evidence can't be had; `broadcaster messages list --state in_doubt` "
            "names it.",
            Query(f"max((time() - {oldest}) * ({oldest} > bool 0))"),
            unit="s",
            decimals=0,
            levels=steps((300, YELLOW), (1200, RED)),
            empty=_NO_EXPORTER,
        ),
        number(
            "How many dead letters wait for somebody?",
            "Nobody replayed or discarded them yet: `broadcaster dead-letters list`.",
            Query("max(broadcaster_dead_letters)"),
            levels=steps((1, YELLOW)),
            empty=_NO_EXPORTER,
        ),
        number(
            "How much of what leaves is refused?",
            "Rejected by Twilio with a code, of all POSTs in the time shown.",
            Query(f"sum({grown(_outcome('rejected'))}) / (sum({grown('broadcaster_messages_total')}) > 0)"),
            unit="percentunit",
            decimals=2,
            levels=steps((0.05, YELLOW), (0.2, RED)),
            empty="nothing left",
        ),
        number(
            "How many POSTs had no answer?",
            "A timeout, a reset or a 5xx, in the time shown: each is in doubt until it is settled.",
            Query(f"sum({grown(_outcome('unknown'))})"),
            decimals=0,
            levels=steps((1, YELLOW)),
            empty="none",
        ),
        number(
            "How many opt out, of those accepted?",
            "New opt-outs by replies and Twilio's 21610, of messages accepted in the time shown. Above 1 % "
            "people did not want this: look at the list's consent, pause the broadcast.",
            Query(f"sum({grown(_OPTED_OUT)}) / (sum({grown(_outcome('accepted'))}) > 0)"),
            unit="percentunit",
            decimals=2,
            levels=steps((0.01, YELLOW), (0.03, RED)),
            empty="nobody",
        ),
        number(
            "How many callbacks found no message?",
            "Parked: they are tried again for a while, since a callback may come before our own record of "
            "the POST.",
            Query("max(broadcaster_callbacks_parked)"),
            levels=steps((100, YELLOW)),
            empty=_NO_EXPORTER,
        ),
        number(
            "How many failed deliveries wait to be looked at?",
            "Something follows from them (an opt-out, an SMS in place of WhatsApp); workers see to it.",
            Query("max(broadcaster_followups_queued)"),
            levels=steps((100, YELLOW)),
            empty=_NO_EXPORTER,
        ),
    ]


def _outcome(name: str) -> str:
    return f'broadcaster_messages_total{{outcome="{name}"}}'


def _codes() -> list[Placed]:
    return [
        _by_code(
            "Which codes did Twilio refuse messages with?",
            "Answers to our POSTs in the time shown. Red meanings are about the account, the sender or the "
            "content: all that follows would fail too. `http_…`: an answer without Twilio's JSON.",
            "send",
        ),
        _by_code(
            "Which codes did deliveries fail with?",
            "Told later, by callbacks or Twilio's list, in the time shown. Carriers' matter: it is "
            "reported here, not paged.",
            "delivery",
        ),
        _code_rate("How fast do refusals come, by code?", "send"),
        _code_rate("How fast do failed deliveries come, by code?", "delivery"),
    ]


def _by_code(title: str, what: str, stage: str) -> Placed:
    counter = f'broadcaster_failures_total{{stage="{stage}"}}'
    counted = f"sum by (code) ({grown(counter)}) > 0"
    spoken = f'label_replace({counted}, "meaning", "$1", "code", "(.*)")'
    return rows(
        title,
        what,
        [f'label_replace({spoken}, "documentation", "$1", "code", "([0-9]+)")'],
        [
            Column("code", "Code", width=80),
            Column("meaning", "Meaning", mappings=MEANINGS),
            Column("Value", "Messages", unit="locale", width=90),
            Column("documentation", "At Twilio", width=90, link=TWILIO_PAGE),
        ],
        sort="Messages",
        width=12,
        height=9,
        empty="none in the time shown",
    )


def _code_rate(title: str, stage: str) -> Placed:
    counter = f'broadcaster_failures_total{{stage="{stage}"}}'
    return graph(
        title,
        "The ten most frequent codes; the tables above tell what they mean.",
        Query(f"topk(10, sum by (code) ({rate(counter)}) > 0)", "{{code}}"),
        unit="suffix:/s",
        empty="none in the time shown",
    )


def _outcomes() -> list[Placed]:
    return [
        graph(
            "How do POSTs end that are not accepted?",
            "Rejected: a code of Twilio's. Throttled, not sent: tried again, cost nothing. Unknown: in "
            "doubt.",
            rates_by("outcome", _NOT_ACCEPTED),
            unit="suffix:/s",
            stacked=True,
            width=8,
        ),
        graph(
            "What is tried again, and after what?",
            "Messages put back, by what their POST came to. Backing off is automatic.",
            rates_by("reason", "broadcaster_retries_total"),
            unit="suffix:/s",
            stacked=True,
            width=8,
            empty="nothing",
        ),
        graph(
            "What did the gate say no to?",
            "Sends that were stopped at the last moment: opted out meanwhile, paused, canceled, expired, a "
            "lost lease. None of them left.",
            rates_by("reason", "broadcaster_intents_refused_total"),
            unit="suffix:/s",
            stacked=True,
            width=8,
            empty="nothing",
        ),
    ]


def _doubt() -> list[Placed]:
    return [
        graph(
            "What comes into doubt, and why?",
            "No answer: a timeout, a reset, a 5xx. Lease lost: the worker went away in the middle.",
            rates_by("reason", "broadcaster_doubts_total"),
            unit="suffix:/s",
            stacked=True,
            width=8,
            empty="nothing",
        ),
        rows(
            "How was doubt settled?",
            "In the time shown. List: found in Twilio's list. Retried: proven absent, sent again. Dead: "
            "unprovable, held for somebody to decide. What a callback settled is not looked for.",
            [f"sum by (how) ({grown('broadcaster_doubts_settled_total')}) > 0"],
            [
                Column("how", "How", mappings=_SETTLED),
                Column("Value", "Messages", unit="locale", width=120),
            ],
            sort="Messages",
            width=8,
            empty="nothing was in doubt",
        ),
        rows(
            "What became dead letters, and why?",
            "In the time shown. `broadcaster dead-letters list` names them; replay sends them again.",
            [f"sum by (reason) ({grown('broadcaster_dead_letters_total')}) > 0"],
            [
                Column("reason", "Why", mappings=_DEAD),
                Column("Value", "Messages", unit="locale", width=120),
            ],
            sort="Messages",
            width=8,
            empty="nothing",
        ),
    ]


_SETTLED: Final = {
    "list": ("found in Twilio's list: accepted", GREEN),
    "accepted": ("its answer or another proof came: accepted", GREEN),
    "retried": ("not in Twilio's list: sent again", BLUE),
    "dead": ("no evidence: a dead letter", YELLOW),
    "skipped": ("opted out, expired or canceled meanwhile", BLUE),
}
_DEAD: Final = {
    "rejected": ("refused by Twilio for good", YELLOW),
    "budget_spent": ("every try failed", YELLOW),
    "unknown": ("perhaps sent, and no evidence was found", RED),
    "other": ("something else: the list tells", YELLOW),
}
