"""Alerts: each means something, says what is so and what to do, and is tested to fire and to keep quiet."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any, Final

import pytest
import yaml
from alerting import FOLDER, RULE_FILES, Alert, alerts, cases, entries, read, recorded, rules
from promql import JOBS, faults, labels_of, names_in

from broadcaster.telemetry.catalog import CATALOG
from broadcaster.telemetry.installation_metrics import INSTALLATION

PROMTOOL: Final = shutil.which("promtool")
COMPOSE: Final = read(FOLDER.parents[1] / "docker-compose.yml")
CONFIG: Final = read(FOLDER / "prometheus.yml")
EVERY: Final = [pytest.param(alert, id=f"{alert.name}{alert.window}") for alert in alerts()]
SECONDS: Final = {"s": 1, "m": 60, "h": 3600}


def test_every_expression_means_something() -> None:
    wrong = {rule["expr"]: faults(rule["expr"], recorded()) for rule in rules()}
    assert {expr: said for expr, said in wrong.items() if said} == {}


def test_all_rule_files_are_read_here_and_by_prometheus() -> None:
    assert {path.name for path in (FOLDER / "rules").iterdir()} == set(RULE_FILES)
    assert CONFIG["rule_files"] == ["rules/*.yml"]


def test_what_is_recorded_is_used_or_reported() -> None:
    used = {name for rule in rules() for name in names_in(rule["expr"])}
    unused = {name for name in recorded() if name not in used}
    assert unused == {"broadcaster:delivered:ratio_increase1h", "broadcaster:delivered:ratio_increase1d"}


def test_carriers_delivery_wakes_nobody() -> None:
    for alert in alerts():
        assert "deliver" not in re.sub("webhooks?_deliver", "", alert.expr), alert.name


@pytest.mark.parametrize("alert", EVERY)
def test_an_alert_is_complete(alert: Alert) -> None:
    assert set(alert.annotations) == {"summary", "description", "runbook_url"}
    assert alert.labels["severity"] in {"page", "ticket"}
    assert alert.name.startswith("Broadcaster")
    assert alert.annotations["runbook_url"] == f"deploy/runbook.md#{alert.name.lower()}"
    assert not alert.annotations["summary"].endswith(".")
    description = alert.annotations["description"]
    assert re.search(r"\d|humanizeDuration|the last day|a day ago", description), "says nothing of since when"
    kept = labels_of(alert.expr, recorded())
    for name in re.findall(r"\$labels\.(\w+)", description):
        assert kept is not None
        assert name in kept


def test_an_exporters_readings_outlive_a_missed_scrape_and_are_never_added_up() -> None:
    """Else an alert's `for` begins anew when one exporter takes over from another."""
    shown = {metric.name for metric in INSTALLATION} - {"broadcaster_exporter_active"}
    for rule in rules():
        for name in names_in(rule["expr"]) & shown:
            within = rf"\b(?:\w+_over_time|increase)\({name}(?:\{{[^}}]*\}})?\["
            assert len(re.findall(within, rule["expr"])) == len(re.findall(rf"\b{name}\b", rule["expr"])), (
                rule
            )
            added = re.search(rf"\bsum[^(]*\((?:\w+)\({name}", rule["expr"])
            assert added is None or CATALOG[name].name.endswith("_total"), rule


@pytest.mark.parametrize("alert", EVERY)
def test_an_alert_is_tested_to_fire_and_to_keep_quiet(alert: Alert) -> None:
    checks = [
        check
        for case in cases()
        for check in case.get("alert_rule_test", ())
        if check["alertname"] == alert.name
    ]
    firing = [exp for check in checks for exp in check["exp_alerts"]]
    assert [exp for exp in firing if exp["exp_labels"].get("window", "") == alert.window]
    assert [check for check in checks if not check["exp_alerts"]]
    for exp in firing:
        assert set(exp["exp_annotations"]) == set(alert.annotations)


def test_what_is_fed_in_are_metrics_that_we_have() -> None:
    fed = {series["series"] for case in cases() for series in case.get("input_series", ())}
    queries = {
        re.sub(r'le="(\d+)(?:[.]0)?"', r'le=~"\1([.]0)?"', one) for one in fed if 'job="node"' not in one
    }
    wrong = {query: faults(f"last_over_time({query}[1m])") for query in queries}
    assert {query: said for query, said in wrong.items() if said} == {}


def test_the_jobs_are_those_that_queries_know_at_the_ports_of_compose() -> None:
    ports = {}
    for job in CONFIG["scrape_configs"]:
        for found in job.get("dns_sd_configs", ()):
            (name,) = found["names"]
            assert name in COMPOSE["services"]
            assert job["job_name"] == f"broadcaster-{name}"
            ports[name] = found["port"]
    assert {f"broadcaster-{name}" for name in ports} == set().union(*JOBS.values())
    assert ports == {"worker": 9464, "api": 8080, "webhooks": 9466, "exporter": 9465}
    for name, variable in (("api", "BROADCASTER_API_PORT"), ("webhooks", "BROADCASTER_API_METRICS_PORT")):
        assert COMPOSE["services"][name]["environment"][variable] == str(ports[name])


def test_counts_of_late_messages_go_by_the_groups_interval() -> None:
    groups = {group["name"]: group for group in read(FOLDER / "rules" / "slo.yml")["groups"]}
    (group,) = (one for name, one in groups.items() if name == "broadcaster_urgent")
    counts = [rule for rule in group["rules"] if ":count" in rule["record"]]
    assert counts
    for rule in counts:
        assert rule["expr"].endswith(f"* {group['interval'].removesuffix('s')}")
    for path in (FOLDER / "tests").glob("slo.yml"):
        assert read(path)["evaluation_interval"] == group["interval"]


def test_whom_alertmanagers_example_silences() -> None:
    names = {alert.name for alert in alerts()}
    example = read(FOLDER / "alertmanager.yml")
    for rule in example["inhibit_rules"]:
        (source,) = _meant(rule["source_matchers"], names)
        silenced = _meant(rule["target_matchers"], names)
        assert silenced
        assert source not in silenced
        assert "BroadcasterDuplicateCaused" not in silenced
    stated = set(re.findall(r"Broadcaster\w+", yaml.safe_dump(example["inhibit_rules"])))
    assert stated <= names


def _meant(matchers: list[str], names: set[str]) -> set[str]:
    for matcher in matchers:
        parts: Any = re.fullmatch(r'alertname(=~|!~|=)"(.+)"', matcher)
        assert parts, matcher
        operator, value = parts.groups()
        fit = {name for name in names if re.fullmatch(value, name)}
        names = names - fit if operator == "!~" else fit
    return names


def test_each_entry_of_the_runbook_tells_the_rules_own_thresholds() -> None:
    for name, entry in entries().items():
        first, *_ = entry.strip().split("\n\n")
        told = set(re.findall(r"`(\d[\d.]*[smh]?)`", first))
        of_it = [alert for alert in alerts() if alert.name == name]
        meant = set().union(*(alert.thresholds | {alert.wait} for alert in of_it))
        assert told == meant, name
        (severity,) = {alert.labels["severity"] for alert in of_it}
        assert first.startswith(f"**{severity.capitalize()}**"), name


@pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian's package prometheus) is not here")
@pytest.mark.parametrize("arguments", [["config", "prometheus.yml"]])
def test_prometheus_takes_it(arguments: list[str]) -> None:
    checked = subprocess.run(
        ["promtool", "check", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.slow
@pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian's package prometheus) is not here")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", sorted(path.name for path in (FOLDER / "tests").glob("*.yml")))
def test_alerts_fire_and_keep_quiet(name: str) -> None:
    """`.ci/run` does the same, and fetches promtool first."""
    tested = subprocess.run(
        ["promtool", "test", "rules", name], cwd=FOLDER / "tests", capture_output=True, text=True, check=False
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
