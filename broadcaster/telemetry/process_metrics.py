"""The metrics of processes: what each has done and seen itself since it started.

A label's values are few and known beforehand. How `sender` is bounded says telemetry/senders.py, how `code`
is says `metric_label` of twilio/codes.py. What a script wrote is counted when its answer is there: one that
was lost with its process was not counted, so after a crash counters may be too low, never too high.
"""

from __future__ import annotations

from typing import Final

from broadcaster.telemetry.metric import Kind, Metric, Role

SEND_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 1.0, 2.5, 5.0, 10.0, 26.0, 35.0, 60.0)
WAIT_SECONDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
REDIS_SECONDS: Final = (0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0)
#: A promise is about 5. A record keeps the second of an acceptance, so up to one is added: never too few.
ACCEPT_SECONDS: Final = (1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 20.0, 30.0, 60.0, 300.0)
LAG_SECONDS: Final = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)

CHANNELS: Final = ("sms", "mms", "whatsapp")
OUTCOMES: Final = ("accepted", "rejected", "throttled", "not_sent", "unknown")
#: Why the gate says no: its own words (intent.lua), and the broadcast's state where that is not `running`.
REFUSALS: Final = (
    *("claim", "server", "account", "optouts", "lane", "hold", "expired", "window", "unconfirmed"),
    *("paused", "canceled", "completed", "deleting", "gone", "other"),
)
_SENDER: Final = (
    "at most 100 (the first 50 that the process sent by, and 50 that turn out to send half a percent of all "
    "or more), and `other`"
)
_CODE: Final = (
    "Twilio's error codes that we know, `http_NNN` of an answer without one, `no_answer`, `not_sent`, "
    "and `other`"
)
_WORKER: Final = frozenset({Role.WORKER})
_API: Final = frozenset({Role.API})
_BOTH: Final = frozenset({Role.WORKER, Role.API})
_EVERY: Final = frozenset({Role.EVERY})

PROCESS: Final = (
    Metric(
        "broadcaster_messages_total",
        Kind.COUNTER,
        _WORKER,
        "Messages that were to be POSTed to Twilio, by how that ended; not_sent: nothing left, as Twilio "
        "could not be reached or the gate's yes had grown old. mms: we attach media; what a template of "
        "Twilio's holds is not known here",
        {"channel": CHANNELS, "sender": _SENDER, "outcome": OUTCOMES},
    ),
    Metric(
        "broadcaster_outcomes_total",
        Kind.COUNTER,
        _WORKER,
        "What broadcaster_messages_total counts, without channel and sender: there as 0 from the start, "
        "where a sender's series begins with what its first messages came to. Rules go by it",
        {"outcome": OUTCOMES},
    ),
    Metric(
        "broadcaster_segments_total",
        Kind.COUNTER,
        _WORKER,
        "Segments of messages that Twilio accepted, as we count them",
        {"channel": CHANNELS, "sender": _SENDER},
    ),
    Metric(
        "broadcaster_failures_total",
        Kind.COUNTER,
        _BOTH,
        "What went wrong, by Twilio's code: with POSTs (`stage` send; all that broadcaster_messages_total "
        "counts as not accepted), or told of later (delivery)",
        {"stage": ("send", "delivery"), "code": _CODE},
    ),
    Metric(
        "broadcaster_send_duration_seconds",
        Kind.HISTOGRAM,
        _WORKER,
        "From handing a POST over to its end",
        {"channel": CHANNELS},
        SEND_SECONDS,
    ),
    Metric(
        "broadcaster_accept_to_post_seconds",
        Kind.HISTOGRAM,
        _WORKER,
        "Urgent single messages: from their acceptance (the clock of the API's host) to the gate's yes to "
        "their first POST (Redis' clock); never too short, up to one second too long",
        {},
        ACCEPT_SECONDS,
    ),
    Metric("broadcaster_in_flight", Kind.GAUGE, _WORKER, "POSTs that have left and not ended"),
    Metric(
        "broadcaster_circuit_open",
        Kind.GAUGE,
        _WORKER,
        "1 while Twilio does not answer and only one message a second is tried",
    ),
    Metric(
        "broadcaster_permit_wait_seconds",
        Kind.HISTOGRAM,
        _WORKER,
        "From a claim to the time its permit allowed",
        {},
        WAIT_SECONDS,
    ),
    Metric("broadcaster_claims_total", Kind.COUNTER, _WORKER, "Slices claimed from lanes"),
    Metric(
        "broadcaster_retries_total",
        Kind.COUNTER,
        _WORKER,
        "Messages put back to be sent again, by what their POST came to",
        {"reason": OUTCOMES},
    ),
    Metric(
        "broadcaster_intents_refused_total",
        Kind.COUNTER,
        _WORKER,
        "Sends that the gate said no to, by reason",
        {"reason": REFUSALS},
    ),
    Metric(
        "broadcaster_dead_letters_total",
        Kind.COUNTER,
        _WORKER,
        "Messages that became dead letters, by why; unknown: in doubt, and no evidence was found",
        {"reason": ("rejected", "budget_spent", "unknown", "other")},
    ),
    Metric(
        "broadcaster_doubts_total",
        Kind.COUNTER,
        _WORKER,
        "Messages that became in doubt, perhaps sent: no_answer (or one that proves nothing, as a 5xx), "
        "lease_lost: their worker is gone, other: Redis lost what was written of them",
        {"reason": ("no_answer", "lease_lost", "other")},
    ),
    Metric(
        "broadcaster_doubts_settled_total",
        Kind.COUNTER,
        _WORKER,
        "Messages in doubt that looking settled, by how",
        {"how": ("list", "accepted", "retried", "dead", "skipped")},
    ),
    Metric(
        "broadcaster_duplicates_caused_total",
        Kind.COUNTER,
        _BOTH,
        "Recipients found to have got a message twice; anything but 0 is worth waking somebody",
    ),
    Metric(
        "broadcaster_skipped_total",
        Kind.COUNTER,
        _BOTH,
        "Recipients left out at their turn, or as a single message was taken, by why; an import tells of "
        "its own",
        {"reason": ("opted_out", "expired", "canceled", "window_closed", "unverified", "other")},
    ),
    Metric(
        "broadcaster_recalled_total",
        Kind.COUNTER,
        _WORKER,
        "Scheduled messages that were to be canceled at Twilio, by how that went",
        {"result": ("canceled", "too_late")},
    ),
    Metric(
        "broadcaster_polled_total",
        Kind.COUNTER,
        _WORKER,
        "Messages that Twilio was asked for, by what it told",
        {"result": ("final", "moved", "unchanged", "gone")},
    ),
    Metric(
        "broadcaster_fallbacks_total",
        Kind.COUNTER,
        _WORKER,
        "SMS in place of WhatsApp messages, by what became of them: in_doubt where Redis lost some, "
        "skipped: opted out or not verified, forbidden: the broadcast was canceled, expired or is removed",
        {"result": ("queued", "in_doubt", "skipped", "forbidden")},
    ),
    Metric(
        "broadcaster_clock_skew_seconds",
        Kind.GAUGE,
        _BOTH,
        "How far another clock is ahead of this host's; shown for 20 minutes after it was looked at. "
        "Twilio's is looked at while doubts are settled, by workers",
        {"clock": ("redis", "twilio")},
        kept_seconds=1200.0,
    ),
    Metric(
        "broadcaster_redis_roundtrip_seconds",
        Kind.HISTOGRAM,
        _WORKER,
        "From a script call to its reply",
        {},
        REDIS_SECONDS,
    ),
    Metric(
        "broadcaster_redis_errors_total",
        Kind.COUNTER,
        _BOTH,
        "Script calls that Redis refused or did not answer; of a round trip without an answer its first",
        {"operation": "names of scripts (broadcaster/store/lua)"},
    ),
    Metric(
        "broadcaster_status_callbacks_total",
        Kind.COUNTER,
        _BOTH,
        "Status callbacks by what became of them: recorded, unchanged (known), parked (looked for), "
        "found, dropped (no such message), ignored (no status we know), refused (not signed by Twilio)",
        {"result": ("recorded", "unchanged", "parked", "found", "dropped", "ignored", "refused")},
    ),
    Metric(
        "broadcaster_callback_write_seconds",
        Kind.HISTOGRAM,
        _API,
        "From a status callback's headers to its place in the ledger, of those that name their message",
        {},
        WAIT_SECONDS,
    ),
    Metric(
        "broadcaster_callback_lag_seconds",
        Kind.HISTOGRAM,
        _API,
        "From the gate's yes to a message to the first news of it by a callback, in whole seconds of "
        "Redis' clock",
        {},
        LAG_SECONDS,
    ),
    Metric(
        "broadcaster_deliveries_total",
        Kind.COUNTER,
        _BOTH,
        "Final states that carriers and Twilio told of; what is read was counted as delivered if that was "
        "told",
        {"state": ("delivered", "read", "undelivered", "failed")},
    ),
    Metric(
        "broadcaster_replies_total",
        Kind.COUNTER,
        _API,
        "Replies by what they mean; flagged: a person should look at it",
        {"meaning": ("opt_out", "opt_in", "help", "other", "flagged")},
    ),
    Metric(
        "broadcaster_opt_outs_total",
        Kind.COUNTER,
        _BOTH,
        "Opt-outs that are new, by where we know it from: a reply, Twilio's 21610, somebody's hand, a "
        "list. A command that works on Redis itself shows no metrics",
        {"source": ("reply", "twilio", "hand", "list")},
    ),
    Metric(
        "broadcaster_webhook_deliveries_total",
        Kind.COUNTER,
        _WORKER,
        "Tries to deliver an event to an endpoint, by how they ended",
        {"result": ("delivered", "failed", "parked")},
    ),
    Metric(
        "broadcaster_recipients_imported_total",
        Kind.COUNTER,
        _API,
        "Recipients to be sent to that the API took, from lists and as single messages. A command that "
        "works on Redis itself shows no metrics",
        {"through": ("list", "message")},
    ),
    Metric(
        "broadcaster_api_requests_total",
        Kind.COUNTER,
        _API,
        "HTTP requests answered; `route` is the path as it was declared",
        {
            "method": ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"),
            "route": "declared paths, and `-` for any other",
            "status": "HTTP statuses",
        },
    ),
    Metric(
        "broadcaster_api_request_duration_seconds",
        Kind.HISTOGRAM,
        _API,
        "From a request's headers to the end of its answer",
        {},
        WAIT_SECONDS,
    ),
    Metric(
        "broadcaster_build", Kind.INFO, _EVERY, "What is running", {"version": "ours", "python": "Python's"}
    ),
)
