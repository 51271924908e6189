"""Who was left out or opts out, and what carriers report: the lower half of Failures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from panels import graph
from queries import Query, grown, quantile, rate, rates_by
from tables import Column, rows

if TYPE_CHECKING:
    from panels import Placed


def people() -> list[Placed]:
    """Return the panels of who was left out, opted out or answered."""
    return [
        graph(
            "Who was left out, and why?",
            "Recipients whose turn came and who got nothing, as they should.",
            rates_by("reason", "broadcaster_skipped_total"),
            unit="suffix:/s",
            stacked=True,
            width=8,
            empty="nobody",
        ),
        graph(
            "Who opts out, and how do we know?",
            "By a reply (STOP and its like), by Twilio's 21610, by hand or from a list.",
            rates_by("source", "broadcaster_opt_outs_total"),
            unit="suffix:/s",
            stacked=True,
            width=8,
            empty="nobody",
        ),
        graph(
            "What do people answer?",
            "Replies by what they mean. Flagged: a person should look, `broadcaster replies list --flagged`.",
            rates_by("meaning", "broadcaster_replies_total"),
            unit="suffix:/s",
            stacked=True,
            width=8,
            empty="no reply came",
        ),
    ]


def deliveries() -> list[Placed]:
    """Return the panels of what carriers and Twilio told later."""
    lag = "broadcaster_callback_lag_seconds"
    return [
        rows(
            "What became of messages?",
            "Final states told in the time shown; a message is counted again when it goes on from "
            "delivered to read.",
            [f"sum by (state) ({grown('broadcaster_deliveries_total')}) > 0"],
            [Column("state", "State"), Column("Value", "Messages", unit="locale", width=120)],
            sort="Messages",
            width=6,
            empty="no final state yet",
        ),
        graph(
            "How fast do final states come?",
            "Undelivered and failed are the carriers' and Twilio's answers, by code above.",
            rates_by("state", "broadcaster_deliveries_total"),
            unit="suffix:/s",
            stacked=True,
            width=9,
        ),
        graph(
            "How late are the first callbacks?",
            "From a message's POST to its first status callback. Growing: Twilio is behind, or our "
            "webhooks answer slowly (Workers and Redis).",
            Query(quantile(0.5, lag), "half of them"),
            Query(quantile(0.95, lag), "95 %"),
            Query(quantile(0.99, lag), "99 %"),
            unit="s",
            width=9,
            empty="no callback came",
        ),
        graph(
            "What became of callbacks?",
            "Refused: not signed by Twilio, so somebody else's, or the token or BROADCASTER_PUBLIC_URL is "
            "wrong. Dropped: of messages that are not ours.",
            rates_by("result", "broadcaster_status_callbacks_total"),
            unit="suffix:/s",
            stacked=True,
            width=8,
            empty="no callback came",
        ),
        graph(
            "What did asking Twilio for states bring?",
            "Messages whose callback is missing are asked for. Much of it: callbacks get lost.",
            rates_by("result", "broadcaster_polled_total"),
            unit="suffix:/s",
            stacked=True,
            width=8,
            empty="nothing was asked for",
        ),
        graph(
            "What was canceled at Twilio, or sent by SMS instead of WhatsApp?",
            "Canceled, too late: scheduled messages called back. The others: SMS in place of WhatsApp "
            "messages.",
            Query(f"sum by (result) ({rate('broadcaster_recalled_total')})", "recalled: {{result}}"),
            Query(f"sum by (result) ({rate('broadcaster_fallbacks_total')})", "SMS instead: {{result}}"),
            unit="suffix:/s",
            width=8,
            empty="nothing",
        ),
    ]
