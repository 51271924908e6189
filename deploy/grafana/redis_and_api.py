"""Redis and the API: the lower half of Workers and Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from panels import GREEN, NO_YES, RED, YELLOW, YES_NO, graph, number, steps
from queries import Query, quantile, rate, rates_by

if TYPE_CHECKING:
    from panels import Placed

_NO_EXPORTER: Final = "no exporter is scraped"
_NO_WORKER: Final = "no worker is scraped"
_NO_API: Final = "no API is scraped"


def safe() -> list[Placed]:
    """Return the panels of whether Redis keeps what it is told."""
    return [
        _yes(
            "Does Redis answer?", "To the exporter. No: workers wait, nothing is lost, nothing leaves.", "up"
        ),
        _yes(
            "Does it take writes?",
            "No: it is a replica, its disk refused a write, or its memory is full. Nothing leaves meanwhile.",
            "writable",
        ),
        _yes(
            "Has it an append-only file?",
            "No: a restart loses everything since the last dump. Set `appendonly yes`.",
            "append_only",
        ),
        _yes(
            "Is each write on disk before its answer?",
            "No: a power cut may take the last second, and what was sent in it is put in doubt. "
            "`appendfsync always` costs nothing on the send path.",
            "appendfsync_always",
        ),
        number(
            "May it drop our data?",
            "Yes: its policy evicts keys when memory is full, which loses messages. Set `maxmemory-policy "
            "noeviction`.",
            Query("max(broadcaster_redis_evicting)"),
            mappings=NO_YES,
            levels=steps((1, RED)),
            empty=_NO_EXPORTER,
        ),
        number(
            "How full is its memory?",
            "Of maxmemory. At 85 % new lists are refused, while what is queued goes on. No data: no "
            "maxmemory is set.",
            Query("max(broadcaster_redis_memory_used_bytes) / (max(broadcaster_redis_memory_max_bytes) > 0)"),
            unit="percentunit",
            decimals=0,
            levels=steps((0.7, YELLOW), (0.85, RED)),
            empty="no maxmemory is set",
        ),
    ]


def _yes(title: str, what: str, name: str) -> Placed:
    return number(
        title,
        what,
        Query(f"min(broadcaster_redis_{name})"),
        mappings=YES_NO,
        levels=((None, RED), (1, GREEN)),
        empty=_NO_EXPORTER,
    )


def sized() -> list[Placed]:
    """Return the panels of memory, speed and errors of Redis."""
    trip = "broadcaster_redis_roundtrip_seconds"
    return [
        graph(
            "How much memory does Redis use?",
            "Beside its maxmemory, where one is set.",
            Query("max(broadcaster_redis_memory_used_bytes)", "used"),
            Query("max(broadcaster_redis_memory_max_bytes > 0)", "maxmemory"),
            unit="bytes",
            width=8,
            empty=_NO_EXPORTER,
        ),
        graph(
            "How much memory does a recipient take?",
            "All of Redis' memory by all recipients it holds; 100 bytes is the budget for lists, 600 for "
            "single messages. Few recipients share what Redis itself needs.",
            Query("max(broadcaster_redis_bytes_per_recipient > 0)", "bytes for each"),
            unit="bytes",
            width=8,
            empty="fewer than a thousand recipients",
        ),
        graph(
            "How many recipients does it hold?",
            "They go 30 days after their broadcast ended (BROADCASTER_RETENTION_DAYS).",
            Query("max(broadcaster_redis_recipients)", "recipients"),
            Query("max(broadcaster_opt_outs)", "opt-outs"),
            width=8,
            empty=_NO_EXPORTER,
        ),
        graph(
            "How long does a call to Redis take?",
            "From a script call to its reply, network and fsync included. Above 10 ms the disk or the "
            "network is slow: `broadcaster doctor` measures both.",
            Query(quantile(0.5, trip), "half of them"),
            Query(quantile(0.99, trip), "99 %"),
            unit="s",
            width=8,
            levels=steps((0.05, YELLOW)),
            empty=_NO_WORKER,
        ),
        graph(
            "Which calls to Redis fail?",
            "By operation. They are repeated, and are safe to be.",
            rates_by("operation", "broadcaster_redis_errors_total"),
            unit="suffix:/s",
            width=8,
            empty="none",
        ),
        graph(
            "Does it drop keys or turn clients away?",
            "Evicted keys are lost messages; set noeviction and more memory. Rejected connections: raise "
            "maxclients.",
            Query(f"max({rate('broadcaster_redis_evicted_keys_total')})", "evicted keys"),
            Query(f"max({rate('broadcaster_redis_rejected_connections_total')})", "rejected connections"),
            unit="suffix:/s",
            width=8,
            empty=_NO_EXPORTER,
        ),
        graph(
            "Who is connected to it?",
            "Clients, and replicas that are connected.",
            Query("max(broadcaster_redis_connected_clients)", "clients"),
            Query("max(broadcaster_redis_replicas)", "replicas"),
            empty=_NO_EXPORTER,
        ),
        graph(
            "Since when does it run?",
            "A fall to 0 is a restart.",
            Query("max(broadcaster_redis_uptime_seconds)", "uptime"),
            unit="s",
            empty=_NO_EXPORTER,
        ),
    ]


def api() -> list[Placed]:
    """Return the panels of the API and the webhooks."""
    took = "broadcaster_api_request_duration_seconds"
    return [
        graph(
            "How many requests come, and how are they answered?",
            "By status. 401 and 403: keys; 422: faulty requests; 429: a key's rate; 503: Redis.",
            rates_by("status", "broadcaster_api_requests_total"),
            unit="suffix:/s",
            stacked=True,
            width=8,
            empty=_NO_API,
        ),
        graph(
            "How much of it fails by our fault?",
            "5xx among all answers.",
            Query(
                f"(sum({rate(_FAILED)}) or 0 * sum({rate('broadcaster_api_requests_total')}))"
                f" / (sum({rate('broadcaster_api_requests_total')}) > 0)",
                "5xx",
            ),
            unit="percentunit",
            width=8,
            levels=steps((0.01, RED)),
            empty="no request came",
        ),
        graph(
            "How long does an answer take?",
            "From a request's headers to the end of its answer; uploads and exports are long.",
            Query(quantile(0.5, took), "half of them"),
            Query(quantile(0.99, took), "99 %"),
            unit="s",
            width=8,
            empty="no request came",
        ),
        graph(
            "Which routes are called most?",
            "The ten busiest, by method and declared path.",
            Query(
                f"topk(10, sum by (method, route) ({rate('broadcaster_api_requests_total')}))",
                "{{method}} {{route}}",
            ),
            unit="suffix:/s",
            width=8,
            empty="no request came",
        ),
        graph(
            "Which routes fail by our fault?",
            "5xx by route; the logs have each under `request.done`.",
            Query(f"sum by (method, route) ({rate(_FAILED)})", "{{method}} {{route}}"),
            unit="suffix:/s",
            width=8,
            empty="none",
        ),
        graph(
            "How long does a callback take to reach the ledger?",
            "From a status callback's arrival to its place there. Twilio waits up to 15 s for our answer.",
            Query(quantile(0.5, "broadcaster_callback_write_seconds"), "half of them"),
            Query(quantile(0.99, "broadcaster_callback_write_seconds"), "99 %"),
            unit="s",
            width=8,
            empty="no callback came",
        ),
    ]


_FAILED: Final = 'broadcaster_api_requests_total{status=~"5.."}'
