from __future__ import annotations

import socket
import timeit
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from broadcaster.domain.failures import Kind
from broadcaster.telemetry.metrics import SEND_SECONDS, BatchedHistogram, Metrics


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_every_outcome_is_there_from_the_start() -> None:
    metrics = Metrics()
    assert {
        kind: value(metrics, "broadcaster_messages_total", outcome=kind) for kind in Kind
    } == dict.fromkeys(Kind, 0.0)
    assert value(metrics, "broadcaster_duplicates_caused_total") == 0


def test_many_sends_are_counted_at_once() -> None:
    metrics = Metrics()
    metrics.sends_done({"accepted": 3, "throttled": 1}, [0.004, 0.01, 0.2, 100.0])
    metrics.sends_done({"accepted": 2})
    assert value(metrics, "broadcaster_messages_total", outcome="accepted") == 5
    assert value(metrics, "broadcaster_messages_total", outcome="throttled") == 1
    assert value(metrics, "broadcaster_send_duration_seconds_bucket", le="0.01") == 2
    assert value(metrics, "broadcaster_send_duration_seconds_bucket", le="60") == 3
    assert value(metrics, "broadcaster_send_duration_seconds_count") == 4
    assert value(metrics, "broadcaster_send_duration_seconds_sum") == pytest.approx(100.214)


def test_the_rest_moves_too() -> None:
    metrics = Metrics()
    metrics.in_flight.set(12)
    metrics.permit_wait.observe(0.002)
    metrics.redis_roundtrip.observe(0.0001)
    metrics.retried("retry", 2)
    metrics.claimed(7)
    metrics.duplicate_caused()
    metrics.intents_refused("paused", 64)
    metrics.redis_failed("intent")
    assert value(metrics, "broadcaster_in_flight") == 12
    assert value(metrics, "broadcaster_permit_wait_seconds_bucket", le="0.005") == 1
    assert value(metrics, "broadcaster_redis_roundtrip_seconds_bucket", le="0.0002") == 1
    assert value(metrics, "broadcaster_retries_total", reason="retry") == 2
    assert value(metrics, "broadcaster_claims_total") == 7
    assert value(metrics, "broadcaster_duplicates_caused_total") == 1
    assert value(metrics, "broadcaster_intents_refused_total", reason="paused") == 64
    assert value(metrics, "broadcaster_redis_errors_total", operation="intent") == 1


def test_an_outcome_that_is_none_is_an_error() -> None:
    with pytest.raises(KeyError):
        Metrics().sends_done({"sent": 1})


def test_two_processes_worth_of_metrics_do_not_meet() -> None:
    one, two = Metrics(), Metrics()
    one.claimed(1)
    assert value(two, "broadcaster_claims_total") == 0


def test_names_are_ours_with_units_and_help() -> None:
    families = list(text_string_to_metric_families(Metrics().text().decode()))
    ours = [family for family in families if not family.name.startswith("process_")]
    assert ours
    assert not [family.name for family in ours if family.name.endswith("_created")]
    for family in ours:
        assert family.name.startswith("broadcaster_")
        assert family.documentation
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


@given(st.lists(st.floats(min_value=0, max_value=100)))
def test_a_batched_histogram_equals_the_librarys(values: list[float]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    BatchedHistogram("h_seconds", "h", SEND_SECONDS, ours).observe_many(values)
    histogram = Histogram("h_seconds", "h", buckets=SEND_SECONDS, registry=theirs)
    for one in values:
        histogram.observe(one)
    for bound in (*(f"{b}" for b in SEND_SECONDS), "+Inf"):
        labels = {"le": f"{float(bound):g}" if bound != "+Inf" else bound}
        assert ours.get_sample_value("h_seconds_bucket", labels) == theirs.get_sample_value(
            "h_seconds_bucket", {"le": bound}
        )
    for name in ("h_seconds_sum", "h_seconds_count"):
        assert ours.get_sample_value(name) == pytest.approx(theirs.get_sample_value(name))


def test_metrics_are_served_on_a_port_of_this_machine() -> None:
    metrics = Metrics()
    metrics.claimed(4)
    server = metrics.serve(0)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
            text = answer.read().decode()
        with pytest.raises(OSError, match="in use"):
            metrics.serve(server.port)
    finally:
        server.close()
    assert "broadcaster_claims_total 4.0" in text
    assert "broadcaster_build_info{" in text
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", server.port)) != 0


def test_counting_costs_little_for_each_message() -> None:
    metrics = Metrics()
    outcomes, durations = {"accepted": 50}, [0.1] * 50
    seconds = min(timeit.repeat(lambda: metrics.sends_done(outcomes, durations), number=200, repeat=5))
    assert seconds / 200 / 50 < 5e-6
