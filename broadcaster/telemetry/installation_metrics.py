"""The metrics of the installation: what is in Redis, read by the exporter when it is scraped.

Only one exporter shows them, or sums over processes would count everything several times. `sender` is one of
the 100 lanes with the most work, or `other`; `broadcast` is one of at most 20 that are running or paused, and
gone when it ends. Where there are more than a few hundred lanes, what is about those is some seconds old.
"""

from __future__ import annotations

from typing import Final

from broadcaster.telemetry.metric import Kind, Metric, Role

_EXPORTER: Final = frozenset({Role.EXPORTER})
_SENDER: Final = "the 100 lanes with the most queued, and `other` (their sum)"
_BROADCAST: Final = "at most 20 broadcasts: the newest that run, then the newest that are paused"
STATES: Final = (
    "queued",
    "sending",
    "retry",
    "in_doubt",
    "accepted",
    "sent",
    "delivered",
    "read",
    "undelivered",
    "failed",
    "dead",
    "skipped",
)
BROADCAST_STATES: Final = (
    "draft",
    "importing",
    "scheduled",
    "running",
    "paused",
    "completed",
    "canceled",
    "failed",
)
#: Why something waits, in words that are few; what a person reads is longer (both: `reporting/waits.py`).
WAITS: Final = (
    "nothing",
    "pace",
    "everything_paused",
    "account_stopped",
    "account_limit",
    "broadcast_paused",
    "paused_by_failures",
    "sender_paused",
    "sender_refused",
    "sender_held",
    "quiet_hours",
    "retry",
    "settling",
    "twilio_silent",
    "no_worker",
    "replicas",
    "rewinding",
)


def _gauge(name: str, meaning: str, **labels: tuple[str, ...] | str) -> Metric:
    return Metric(f"broadcaster_{name}", Kind.GAUGE, _EXPORTER, meaning, labels)


def _counter(name: str, meaning: str, **labels: tuple[str, ...] | str) -> Metric:
    return Metric(f"broadcaster_{name}", Kind.COUNTER, _EXPORTER, meaning, labels)


INSTALLATION: Final = (
    _gauge(
        "exporter_active",
        "1 where this exporter reads for the installation; 0: another one does, and this shows nothing else",
    ),
    _gauge("exporter_scrape_seconds", "What the last reading took"),
    _gauge(
        "exporter_survey_timestamp_seconds",
        "When all lanes were last gone through: at the scrape where they are few, else every few seconds",
    ),
    _gauge(
        "installation_found",
        "1 where Redis holds an installation; 0: it was emptied, or nobody has begun one",
    ),
    _counter(
        "installation_changes_total", "How often Redis was found to hold another installation than before"
    ),
    # what waits
    _gauge(
        "queue_messages",
        "Messages of broadcasts and streams that have not ended, by state; of canceled ones what is on its "
        "way or in doubt",
        state=("queued", "sending", "retry", "in_doubt"),
    ),
    _gauge(
        "queue_claimable_messages",
        "Queued messages and due retries that a worker may take now but for pace: not paused, held, stopped, "
        "or out of their hours",
    ),
    _gauge(
        "queue_oldest_due_timestamp_seconds",
        "Since when the lane that waits longest has had a permit and work that nobody took; 0: none. Neither "
        "pace nor a pause, a hold, closed hours or Twilio's silence explains a second of it",
    ),
    _gauge(
        "queue_oldest_ready_timestamp_seconds",
        "When the oldest broadcast or stream with claimable messages began; 0: none",
        priority=("urgent", "normal", "bulk"),
    ),
    _gauge(
        "queue_drain_seconds", "How long the lane with the most work needs for it at its pace; 0: none has"
    ),
    _gauge("retries_due_timestamp_seconds", "When the next retry is due; 0: none waits"),
    _gauge("in_doubt_oldest_timestamp_seconds", "Since when the oldest message in doubt is; 0: none is"),
    _counter(
        "duplicates_found_total",
        "Messages found to have been sent a second time in place of one. Counted with what shows it, in one "
        "step, so that whoever found it may end before it is scraped; anything but 0 is worth waking somebody",
    ),
    _gauge(
        "scheduled_due_timestamp_seconds",
        "When the scheduled broadcast that comes next starts, or should have: a worker starts it within a "
        "second, or a minute later where Twilio does not tell of its template; 0: none is scheduled",
    ),
    _gauge("dead_letters", "Dead letters that nobody replayed or discarded"),
    _gauge(
        "broadcasts",
        "Broadcasts by state; streams of single messages are not counted",
        state=BROADCAST_STATES,
    ),
    _gauge(
        "broadcasts_stopped",
        "Broadcasts that paused themselves, as too many of their messages failed or a template may not be "
        "used, and have recipients left; not those that a person paused",
    ),
    _gauge("jobs_queued", "Jobs that arq has queued"),
    _gauge("callbacks_parked", "Status callbacks whose message was not found yet"),
    _gauge("followups_queued", "Failed deliveries that something follows from and no worker saw to yet"),
    _gauge("webhooks_queued", "Events that wait to be delivered to endpoints", state=("queued", "parked")),
    _gauge("opt_outs", "Who must not be written to"),
    # lanes and the account
    _gauge(
        "lanes",
        "Senders by what they do. paused: a person's wish; refused: a code of Twilio's stopped the sender or "
        "the account, until somebody resumes; held: stopped for now, goes on by itself",
        state=("sending", "idle", "paused", "refused", "held"),
    ),
    _gauge(
        "lane_queued_messages",
        "Queued messages of a lane, retries too; of a broadcast with several lanes by how far each has come",
        sender=_SENDER,
    ),
    _gauge("lane_rate_segments_per_second", "A lane's pace", sender=_SENDER),
    _gauge(
        "lane_permits_segments",
        "Segments that may leave at once now; below 0: those that were borrowed",
        sender=_SENDER,
    ),
    _gauge("lane_stopped", "1 while a lane is paused or held", sender=_SENDER),
    _gauge("account_rate_segments_per_second", "The total pace of all senders; 0: none is set"),
    _gauge("account_concurrency_limit", "Requests in flight that Twilio takes now, as far as learned"),
    _gauge(
        "account_in_flight", "Requests in flight that workers last reported, at their highest in a second"
    ),
    _gauge(
        "account_stopped",
        "1 while everything is stopped, by `why`: a person's pause, Twilio's refusal of the account, a "
        "rewinding",
        why=("paused", "refused", "rewinding"),
    ),
    _gauge(
        "account_silent_timestamp_seconds",
        "Since when Twilio does not answer (all circuits are open); 0: it does",
    ),
    # broadcasts that run
    _gauge("broadcast_messages", "A broadcast's messages by state", broadcast=_BROADCAST, state=STATES),
    _gauge("broadcast_recipients", "How many a broadcast goes to", broadcast=_BROADCAST),
    _gauge("broadcast_started_timestamp_seconds", "When it began", broadcast=_BROADCAST),
    _gauge(
        "broadcast_eta_timestamp_seconds",
        "When its last message should leave at this pace; 0: not known",
        broadcast=_BROADCAST,
    ),
    _gauge(
        "broadcast_waiting",
        "1 for why a broadcast's next message does not leave now",
        broadcast=_BROADCAST,
        why=WAITS,
    ),
    Metric(
        "broadcaster_broadcast",
        Kind.INFO,
        _EXPORTER,
        "Its name, priority and state",
        {
            "broadcast": _BROADCAST,
            "name": "as given, cut and masked",
            "priority": ("urgent", "normal", "bulk"),
            "state": BROADCAST_STATES,
        },
    ),
    # workers
    _gauge(
        "workers",
        "Workers by what they do; lost: their lease ran out and they did not come back, for a day",
        state=("live", "draining", "lost"),
    ),
    _gauge(
        "worker_last_heartbeat_timestamp_seconds",
        "When a worker last renewed its lease",
        worker="at most 100 live or lost ones",
    ),
    # Redis
    _gauge("redis_up", "1 where Redis answered"),
    _gauge("redis_writable", "1 where it takes writes: not a replica, no failed write to disk, memory left"),
    _gauge("redis_memory_used_bytes", "Memory that Redis uses"),
    _gauge("redis_memory_max_bytes", "Its maxmemory; 0: none"),
    _gauge(
        "redis_bytes_per_recipient",
        "Memory of Redis by recipients that it holds, all in all; 0 below a thousand of them",
    ),
    _gauge("redis_recipients", "Recipients that it holds"),
    _gauge("redis_append_only", "1 with an append-only file"),
    _gauge("redis_appendfsync_always", "1 where each write is on disk before its answer"),
    _gauge("redis_evicting", "1 where its policy may drop our data"),
    _counter("redis_evicted_keys_total", "Keys that it dropped for want of memory"),
    _counter("redis_rejected_connections_total", "Connections that it refused"),
    _gauge("redis_connected_clients", "Its clients"),
    _gauge("redis_replicas", "Its replicas that are connected"),
    _gauge("redis_uptime_seconds", "Since it started"),
)
