"""Which metrics a reading comes to."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from broadcaster.reporting.installation.standing import queue_messages
from broadcaster.reporting.waits import refused_by_twilio
from broadcaster.telemetry.installation_metrics import BROADCAST_STATES, STATES

if TYPE_CHECKING:
    from broadcaster.exporter.families import Page
    from broadcaster.reporting.installation.gathering import Picture
    from broadcaster.reporting.installation.server import ServerFacts
    from broadcaster.reporting.installation.standing import Standing
    from broadcaster.reporting.installation.survey import Survey
    from broadcaster.telemetry.masking import Masking

_PRIORITIES: Final = ("urgent", "normal", "bulk")
_NAME_MOST: Final = 60
_WORKERS_MOST: Final = 100
#: Below that a share of memory says nothing about recipients.
_RECIPIENTS_LEAST: Final = 1000
#: Longer than a survey of many lanes takes: an older one is not shown.
_SURVEY_KEPT_SECONDS: Final = 60.0


def show(page: Page, picture: Picture, masking: Masking) -> None:
    """Put a whole reading onto a page."""
    survey = picture.survey
    if survey is not None and picture.overview.now / 1e6 - survey.at > _SURVEY_KEPT_SECONDS:
        survey = None
    _queues(page, picture, survey)
    _account(page, picture)
    if survey is not None:
        _lanes(page, survey, picture.overview.now)
    _broadcasts(page, picture, survey, masking)
    _workers(page, picture)
    show_server(page, picture.server)
    enough = picture.recipients >= _RECIPIENTS_LEAST and picture.states is not None
    page.one("redis_recipients", picture.recipients if picture.states is not None else None)
    page.one("redis_bytes_per_recipient", picture.server.used_memory / picture.recipients if enough else 0)


def show_server(page: Page, server: ServerFacts) -> None:
    """Show Redis itself; whoever reads it may."""
    page.one("redis_writable", server.writable)
    page.one("redis_memory_used_bytes", server.used_memory)
    page.one("redis_memory_max_bytes", server.max_memory)
    page.one("redis_append_only", server.append_only)
    page.one("redis_appendfsync_always", server.always)
    page.one("redis_evicting", server.evicting)
    page.one("redis_evicted_keys_total", server.evicted_keys)
    page.one("redis_rejected_connections_total", server.rejected_connections)
    page.one("redis_connected_clients", server.clients)
    page.one("redis_replicas", server.replicas)
    page.one("redis_uptime_seconds", server.uptime_seconds)


def _queues(page: Page, picture: Picture, survey: Survey | None) -> None:
    sizes = picture.overview.sizes
    page.by("queue_messages", "state", queue_messages(picture.open))
    if survey is not None:
        claimable = {
            one.id: min(survey.claimable.get(one.id, 0.0), one.unsent)
            for one in picture.open
            if one.state == "running"
        }
        page.one("queue_claimable_messages", round(sum(claimable.values())))
        page.one("queue_oldest_due_timestamp_seconds", survey.oldest_due)
        page.by("queue_oldest_ready_timestamp_seconds", "priority", _oldest_ready(picture.open, claimable))
        page.one("queue_drain_seconds", survey.drain_seconds)
        page.one("retries_due_timestamp_seconds", survey.next_retry)
        page.one("exporter_survey_timestamp_seconds", survey.at)
    page.one("scheduled_due_timestamp_seconds", picture.overview.scheduled)
    page.one("broadcasts_stopped", sum(one.stopped_itself for one in picture.open))
    page.one("in_doubt_oldest_timestamp_seconds", picture.doubt_since)
    if picture.states is not None:
        page.one("dead_letters", picture.dead)
        states = picture.states
        page.by("broadcasts", "state", {state: states.get(state, 0) for state in BROADCAST_STATES})
    page.one("jobs_queued", sizes.jobs)
    page.one("callbacks_parked", sizes.parked)
    page.one("followups_queued", sizes.failures)
    page.by(
        "webhooks_queued", "state", {"queued": sizes.deliveries_queued, "parked": sizes.deliveries_parked}
    )
    page.one("opt_outs", sizes.opt_outs)


def _oldest_ready(standings: tuple[Standing, ...], claimable: dict[str, float]) -> dict[str, float]:
    oldest: dict[str, float] = dict.fromkeys(_PRIORITIES, 0)
    for one in standings:
        if claimable.get(one.id, 0) > 0:
            known = oldest[one.priority]
            oldest[one.priority] = min(known, one.started) if known else one.started
    return oldest


def _lanes(page: Page, survey: Survey, now: float) -> None:
    page.by("lanes", "state", survey.lanes)
    backlogs = survey.backlogs
    page.by("lane_queued_messages", "sender", [(one.name, round(one.queued)) for one in backlogs])
    page.by("lane_rate_segments_per_second", "sender", [(one.name, one.rate) for one in backlogs])
    permits = [(one.name, one.permits(now)) for one in backlogs]
    page.by("lane_permits_segments", "sender", [(name, n) for name, n in permits if n is not None])
    page.by("lane_stopped", "sender", [(one.name, one.stopped) for one in backlogs])


def _account(page: Page, picture: Picture) -> None:
    found = picture.overview
    told = found.account
    refused = bool(told.paused) and refused_by_twilio(told.paused)
    page.one("duplicates_found_total", int(told.duplicates or 0))
    page.one("account_rate_segments_per_second", float(told.rate or 0))
    page.one("account_concurrency_limit", float(told.limit) if told.limit else None)
    live = [worker for worker in found.workers if worker.ends >= found.now]
    page.one("account_in_flight", sum(int(worker.peak or 0) for worker in live))
    page.by(
        "account_stopped",
        "why",
        {
            "paused": bool(told.paused) and not refused,
            "refused": refused,
            "rewinding": bool(told.rewind),
        },
    )
    page.one("account_silent_timestamp_seconds", float(told.silent or 0))


def _broadcasts(page: Page, picture: Picture, survey: Survey | None, masking: Masking) -> None:
    shown = picture.shown
    page.many(
        "broadcast_messages",
        [
            ({"broadcast": one.id, "state": label}, n)
            for one in shown
            for label, n in zip(STATES, one.counts, strict=True)
        ],
    )
    page.by("broadcast_recipients", "broadcast", [(one.id, one.total) for one in shown])
    page.by("broadcast_started_timestamp_seconds", "broadcast", [(one.id, one.started) for one in shown])
    if survey is not None:
        ends_at = survey.ends_at
        page.by(
            "broadcast_eta_timestamp_seconds",
            "broadcast",
            [(one.id, ends_at.get(one.id, 0.0) if one.state == "running" else 0.0) for one in shown],
        )
        page.many(
            "broadcast_waiting",
            [
                ({"broadcast": one.id, "why": survey.waits[one.id]}, 1)
                for one in shown
                if one.id in survey.waits
            ],
        )
    page.many(
        "broadcast",
        [
            (
                {
                    "broadcast": one.id,
                    "name": masking.text(one.name)[:_NAME_MOST],
                    "priority": one.priority,
                    "state": one.state,
                },
                1,
            )
            for one in shown
        ],
    )


def _workers(page: Page, picture: Picture) -> None:
    found = picture.overview
    states = Counter({"live": 0, "draining": 0, "lost": len(found.lost)})
    seen: dict[str, float] = {}
    for worker in found.workers:
        state = "lost" if worker.ends < found.now else "draining" if worker.draining else "live"
        states[state] += 1
        seen[worker.name] = float(worker.seen or 0)
    seen |= {name: float(at) for name, at in found.lost if at and name not in seen}
    page.by("workers", "state", states)
    page.by("worker_last_heartbeat_timestamp_seconds", "worker", list(seen.items())[:_WORKERS_MOST])
