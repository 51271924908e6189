"""The checker of expressions finds what it says it finds, and lets pass what means something."""

from __future__ import annotations

import pytest
from promql import faults, labels_of, names_in

GOOD = {
    "sum by (outcome) (rate(broadcaster_messages_total[$__rate_interval]))": {"outcome"},
    'sum(increase(broadcaster_messages_total{outcome=~"accepted|rejected"}[${__range}]))': set(),
    "histogram_quantile(0.99, sum by (le) (rate(broadcaster_send_duration_seconds_bucket[5m])))": set(),
    'rate(broadcaster_accept_to_post_seconds_bucket{le=~"5([.]0)?"}[5m])': {"job", "instance", "le"},
    'rate(broadcaster_send_duration_seconds_bucket{le="0.35"}[5m])': {"job", "instance", "channel", "le"},
    'sum by (broadcast) (broadcaster_broadcast_messages{broadcast=~"$broadcast"}) * on (broadcast) '
    "group_left (name) broadcaster_broadcast_info": {"broadcast", "name"},
    "broadcaster_queue_claimable_messages > 0 and on () broadcaster_redis_up == 1": {"job", "instance"},
    "broadcaster_queue_claimable_messages > on (job) broadcaster_redis_up": {"job"},
    "sum(broadcaster_in_flight) / sum(broadcaster_account_concurrency_limit)": set(),
    "max_over_time(sum(rate(broadcaster_claims_total[5m]))[1h:1m])": set(),
    "sum((max_over_time(broadcaster_claims_total[1h]) unless "
    "last_over_time(broadcaster_claims_total[5m] offset 1h)) or "
    "increase(broadcaster_claims_total[1h]))": set(),
    'absent(up{job="broadcaster-exporter"})': set(),
    "job:sent:rate5m / ignoring (job, instance) sum(broadcaster_in_flight)": set(),
}
BAD = {
    "sum(": "does not parse",
    "broadcaster_mesages": "no metric that we have",
    "sum(broadcaster_messages_total)": "only grows",
    "broadcaster_claims_total unless broadcaster_recalled_total offset 1h": "only grows",
    "rate(broadcaster_in_flight[5m])": "no counter",
    "delta(broadcaster_claims_total[5m])": "only grows",
    "sum by (code) (rate(broadcaster_messages_total[5m]))": "no label code",
    'rate(broadcaster_messages_total{state="accepted"}[5m])': "no label state",
    'rate(broadcaster_messages_total{outcome=~"accepted|refused"}[5m])': "never has",
    'rate(broadcaster_accept_to_post_seconds_bucket{le="6"}[5m])': "never has",
    'rate(broadcaster_accept_to_post_seconds_bucket{le="5"}[5m])': "spelled otherwise",
    'rate(broadcaster_accept_to_post_seconds_bucket{le="5.0"}[5m])': "spelled otherwise",
    'up{job="broadcaster"}': "never has",
    "histogram_quantile(0.9, sum by (le) (rate(broadcaster_send_duration_seconds_count[5m])))": "no label le",
    "histogram_quantile(0.9, sum(rate(broadcaster_send_duration_seconds_bucket[5m])))": "wants `le` kept",
    "broadcaster_in_flight / broadcaster_queue_messages": "only one side has state",
    "broadcaster_in_flight and broadcaster_redis_up": "different jobs",
    "broadcaster_redis_up * on (broadcast) broadcaster_redis_writable": "not on both sides",
    "broadcaster_broadcast_recipients * on (broadcast) group_left (nick) "
    "broadcaster_broadcast_info": "no label nick",
}
RECORDED = {"job:sent:rate5m": frozenset({"job", "instance"})}


@pytest.mark.parametrize("expression", GOOD)
def test_what_means_something_passes_and_tells_its_labels(expression: str) -> None:
    assert faults(expression, RECORDED) == []
    assert set(labels_of(expression, RECORDED) or ()) == GOOD[expression]


@pytest.mark.parametrize("expression", BAD)
def test_what_can_not_be_is_said(expression: str) -> None:
    assert BAD[expression] in "; ".join(faults(expression, RECORDED))
    with pytest.raises(ValueError, match=r"^"):
        labels_of(expression, RECORDED)


def test_a_number_has_no_labels_and_names_are_found_at_any_depth() -> None:
    assert labels_of("time() - 3600") is None
    deep = "max_over_time((sum(rate(broadcaster_claims_total[5m])) + on () vector(1))[1h:1m]) > scalar(up)"
    assert names_in(deep) == {"broadcaster_claims_total", "up"}
