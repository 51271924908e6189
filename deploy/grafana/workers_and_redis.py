"""Workers and Redis: whether all processes are there and well, Redis is safe and the API answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from board import Section, board
from panels import BLUE, GREEN, RED, YELLOW, YES_NO, graph, number, steps
from queries import Query, quantile, rate, rates_by
from redis_and_api import api, safe, sized
from tables import Column, rows

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import Dashboard
    from panels import Placed

_NO_EXPORTER: Final = "no exporter is scraped"
_NO_WORKER: Final = "no worker is scraped"
_OURS: Final = '{job=~"broadcaster-.+"}'


def workers_and_redis() -> Dashboard:
    """Return the dashboard of processes, Redis, the API and the exporter."""
    return board(
        "broadcaster-workers-and-redis",
        "Broadcaster / Workers and Redis",
        "Are all processes there and well, is Redis safe and large enough, does the API answer?",
        [
            Section("Workers", [*_present(), *_working()]),
            Section("Redis", [*safe(), *sized()]),
            Section("API and webhooks", api()),
            Section("Processes, jobs and the exporter", _processes()),
        ],
    )


def _present() -> list[Placed]:
    beat = "broadcaster_worker_last_heartbeat_timestamp_seconds"
    return [
        number(
            "How many workers are there?",
            "Draining: it finishes and takes nothing new. Lost: its lease ran out and it did not come back "
            "within a day; what it was sending is in doubt and settled by evidence.",
            Query("max by (state) (broadcaster_workers)", "{{state}}"),
            width=8,
            named=True,
            empty=_NO_EXPORTER,
        ),
        number(
            "How long ago did the quietest worker report?",
            "Workers renew their lease every few seconds; one that stays silent loses its work to the "
            "others.",
            Query(f"time() - min({beat})"),
            unit="s",
            decimals=0,
            levels=steps((10, YELLOW), (60, RED)),
            empty="no worker has reported",
        ),
        number(
            "How many circuits are open?",
            "Workers that Twilio does not answer to. They try one message a second, over all of them, "
            "until it does.",
            Query("sum(broadcaster_circuit_open)"),
            levels=steps((1, RED)),
            empty=_NO_WORKER,
        ),
        number(
            "How far apart are the clocks?",
            "The largest difference between a worker's clock and Redis' or Twilio's. Above 2 s: set the "
            "host's time.",
            Query("max(abs(broadcaster_clock_skew_seconds))"),
            unit="s",
            decimals=2,
            levels=steps((2, YELLOW), (30, RED)),
            empty=_NO_WORKER,
        ),
        rows(
            "Which versions run?",
            "More than one while an upgrade is under way.",
            ["count by (job, version) (broadcaster_build_info)"],
            [Column("job", "Job"), Column("version", "Version"), Column("Value", "Processes", width=80)],
            width=4,
            height=4,
            empty="nothing is scraped",
        ),
    ]


def _working() -> list[Placed]:
    send = "broadcaster_send_duration_seconds"
    return [
        graph(
            "How many requests are in flight, by worker?",
            "POSTs that left and have not ended. One worker far above the others: its network is slow.",
            Query("sum by (instance) (broadcaster_in_flight)", "{{instance}}"),
            width=8,
            empty=_NO_WORKER,
        ),
        graph(
            "How long does Twilio take for a POST?",
            "From handing it over to its end. About 26 s is Twilio's own limit, 30 s ours.",
            Query(quantile(0.5, send, "channel"), "half of {{channel}}"),
            Query(quantile(0.99, send, "channel"), "99 % of {{channel}}"),
            unit="s",
            width=8,
            empty="nothing leaves",
        ),
        graph(
            "How long do messages wait for their permit, once claimed?",
            "Up to half a second is how pace works. More: workers claim what they can't send.",
            Query(quantile(0.5, "broadcaster_permit_wait_seconds"), "half of them"),
            Query(quantile(0.99, "broadcaster_permit_wait_seconds"), "99 %"),
            unit="s",
            width=8,
            empty="nothing leaves",
        ),
        graph(
            "How long ago did each worker report?",
            "A sawtooth of a few seconds is well.",
            Query(
                "time() - max by (worker) (broadcaster_worker_last_heartbeat_timestamp_seconds)", "{{worker}}"
            ),
            unit="s",
            width=8,
            levels=steps((60, RED)),
            empty="no worker has reported",
        ),
        graph(
            "How many slices does each worker claim a second?",
            "Nobody claims while work is due: see how long nobody took it (Campaigns).",
            rates_by("instance", "broadcaster_claims_total"),
            unit="suffix:/s",
            width=8,
            empty=_NO_WORKER,
        ),
        graph(
            "How far ahead are other clocks?",
            "Of Redis' and Twilio's, as each worker sees them.",
            Query("broadcaster_clock_skew_seconds", "{{clock}} for {{instance}}"),
            unit="s",
            width=8,
            empty=_NO_WORKER,
        ),
    ]


def _processes() -> list[Placed]:
    return [
        number(
            "How many processes are scraped?",
            "Those that answer; fewer than you started: look at Prometheus' targets.",
            Query(f"sum by (job) (up{_OURS})", "{{job}}"),
            levels=((None, RED), (1, GREEN)),
            width=8,
            named=True,
            empty="nothing is scraped",
        ),
        number(
            "Is there an installation in Redis?",
            "No: Redis was emptied, or nobody has begun one. Workers that had one stop with EPOCH and send "
            "nothing: restore it (deploy/operations.md).",
            Query("max(broadcaster_installation_found)"),
            mappings=YES_NO,
            levels=((None, RED), (1, GREEN)),
            empty=_NO_EXPORTER,
        ),
        number(
            "How many exporters read?",
            "Exactly one does, others stand by.",
            Query("sum(broadcaster_exporter_active)"),
            levels=((None, RED), (1, GREEN), (2, RED)),
            empty=_NO_EXPORTER,
        ),
        number(
            "How long does its reading take?",
            "A few milliseconds, with ten thousand lanes too.",
            Query("max(broadcaster_exporter_scrape_seconds)"),
            unit="s",
            levels=steps((0.1, YELLOW), (1, RED)),
            empty=_NO_EXPORTER,
        ),
        number(
            "How many jobs are queued?",
            "Imports, exports, settling and the like. Growing: workers are busy or gone.",
            Query("max(broadcaster_jobs_queued)"),
            levels=((None, BLUE), (1000, YELLOW)),
            empty=_NO_EXPORTER,
        ),
        graph(
            "How much processor time does each process take?",
            "1 is a whole core. A worker near 1 sends as fast as it can: start another (deploy/scaling.md).",
            Query(f"rate(process_cpu_seconds_total{_OURS}[$__rate_interval])", "{{job}} {{instance}}"),
            unit="percentunit",
            width=8,
        ),
        graph(
            "How much memory does each process take?",
            "Resident. A worker's stays flat however long the list is.",
            Query(f"process_resident_memory_bytes{_OURS}", "{{job}} {{instance}}"),
            unit="bytes",
            width=8,
        ),
        graph(
            "How many files and sockets has each process open?",
            "Share of its limit; at 1 it can open no connection.",
            Query(f"process_open_fds{_OURS} / process_max_fds{_OURS}", "{{job}} {{instance}}"),
            unit="percentunit",
            width=8,
            levels=steps((0.8, RED)),
        ),
        graph(
            "How long does a scrape take, and how old is its view of the lanes?",
            "As Prometheus sees it, the exporter's reading alone, and when it last went through all lanes: "
            "at the scrape where they are few, else seconds before.",
            Query(f"max by (job) (scrape_duration_seconds{_OURS})", "{{job}}"),
            Query("max(broadcaster_exporter_scrape_seconds)", "the exporter's reading"),
            Query("time() - max(broadcaster_exporter_survey_timestamp_seconds)", "age of the view"),
            unit="s",
            width=8,
        ),
        graph(
            "When is the next retry due?",
            "Seconds until then; 0: now or none waits.",
            Query("clamp_min(max(broadcaster_retries_due_timestamp_seconds) - time(), 0)", "next retry"),
            unit="s",
            width=8,
            empty=_NO_EXPORTER,
        ),
        graph(
            "Do your own endpoints take events?",
            "Tries to deliver events by how they ended, and events that wait. Parked: an endpoint failed "
            "for long; `broadcaster events endpoints list`.",
            Query(f"sum by (result) ({rate('broadcaster_webhook_deliveries_total')})", "{{result}} a second"),
            Query("max by (state) (broadcaster_webhooks_queued)", "waiting: {{state}}"),
            width=8,
            empty="no endpoint is set",
        ),
    ]
