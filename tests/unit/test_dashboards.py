"""Dashboards: the JSON is what the code writes, every query means something, every panel explains itself."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import generate
import pytest
import yaml
from campaigns import WORDS
from promql import faults, labels_of
from queries import grown

from broadcaster.telemetry.installation_metrics import INSTALLATION, WAITS
from broadcaster.twilio.codes import CODES

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
FOLDER: Final = DEPLOY / "grafana" / "dashboards"
NAMES: Final = ("campaigns", "senders", "failures", "workers-and-redis")


@cache
def board(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def panels(name: str) -> list[Any]:
    return [panel for panel in board(name)["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str, Any]]:
    for name in NAMES:
        for panel in panels(name):
            for target in panel["targets"]:
                yield name, panel["title"], target


def test_the_committed_json_is_what_the_code_writes() -> None:
    for name, text in generate.files().items():
        written = (FOLDER / name).read_text(encoding="utf-8")
        assert written == text, f"{name} is not what the code writes: run `make dashboards` and commit it"
    assert {path.name for path in FOLDER.iterdir()} == set(generate.files())


def test_every_query_means_something() -> None:
    wrong = {
        f"{name}: {title}: {target['expr']}": faults(target["expr"]) for name, title, target in queries()
    }
    assert {about: said for about, said in wrong.items() if said} == {}


def test_what_exporters_show_is_never_added_up_over_them() -> None:
    """While one takes over from another both may be there."""
    once = "|".join(metric.name for metric in INSTALLATION if metric.name != "broadcaster_exporter_active")
    for name, title, target in queries():
        assert not re.search(rf"sum( by \([^)]*\))? ?\(({once})\b", target["expr"]), (name, title)


def test_legends_name_labels_that_their_query_keeps() -> None:
    for name, title, target in queries():
        named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        assert named <= (labels_of(target["expr"]) or set()), (name, title, target["expr"])


def test_tables_show_columns_that_their_queries_bring() -> None:
    """A column's field is a label of some query, or the value of the query with its letter."""
    for name in NAMES:
        for panel in (panel for panel in panels(name) if panel["type"] == "table"):
            fields = {"Time"}
            for target in panel["targets"]:
                fields |= labels_of(target["expr"]) or set()
                fields.add(f"Value #{target['refId']}" if len(panel["targets"]) > 1 else "Value")
            organized = panel["transformations"][1]["options"]
            named = {*organized["excludeByName"], *organized["renameByName"]}
            assert named == fields, (name, panel["title"])


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_explains_itself(name: str) -> None:
    for panel in panels(name):
        defaults = panel["fieldConfig"]["defaults"]
        title = panel["title"]
        assert len(panel["description"]) >= 20, title
        assert panel["description"].endswith("."), title
        assert defaults.get("noValue"), title
        assert panel["datasource"]["uid"] == "${datasource}", title
        assert panel["type"] in {"table", "state-timeline"} or defaults.get("unit"), title
    titles = [panel["title"] for panel in panels(name)]
    assert len(titles) == len(set(titles)), "tests and people find a panel by its title"


@pytest.mark.parametrize("name", [*NAMES, "runbook"])
def test_ids_are_unique_and_panels_fill_lines_of_24_without_overlap(name: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in board(name)["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, (panel["title"], taken[x, y])
                taken[x, y] = panel["title"]
    lowest = max(y for _, y in taken)
    assert set(taken) == {(x, y) for x in range(24) for y in range(lowest + 1)}, "no holes, nothing beside"
    ids = [panel["id"] for panel in board(name)["panels"]]
    assert len(ids) == len(set(ids))
    for panel in panels(name):
        letters = [target["refId"] for target in panel.get("targets") or ()]
        assert letters == sorted(set(letters))


def test_variables_exist_and_dashboards_are_found_from_each_other() -> None:
    for name in NAMES:
        known = {variable["name"] for variable in board(name)["templating"]["list"]}
        used = set(re.findall(r"\$\{?(\w+)", json.dumps(board(name)["panels"])))
        assert used - known <= {"__rate_interval", "__range", "__value", "1"}, name
        assert known <= used, name
        assert [link["tags"] for link in board(name)["links"] if link["type"] == "dashboards"] == [
            board(name)["tags"]
        ]
    assert len({board(name)["uid"] for name in NAMES}) == len(NAMES)


def test_each_code_has_its_meaning_and_twilios_page() -> None:
    [table] = [p for p in panels("failures") if p["title"].startswith("Which codes did Twilio refuse")]
    properties = {
        override["matcher"]["options"]: {one["id"]: one["value"] for one in override["properties"]}
        for override in table["fieldConfig"]["overrides"]
    }
    texts = properties["Meaning"]["mappings"][0]["options"]
    assert {code: text["text"] for code, text in texts.items() if code.isdigit()} == {
        str(code.code): code.meaning for code in CODES.values()
    }
    [link] = properties["At Twilio"]["links"]
    assert link["url"] == "https://www.twilio.com/docs/api/errors/${__value.raw}"


def test_the_runbook_names_panels_that_are_there_and_is_there_itself() -> None:
    page = " ".join((DEPLOY / "runbook.md").read_text(encoding="utf-8").split())
    titles = {"Campaigns": "campaigns", "Senders": "senders", "Failures": "failures"}
    named = re.findall(
        r"▸ (Campaigns|Senders|Failures|Workers and Redis): ((?:\*[^*]+\*(?:, | and )?)+)", page
    )
    assert named
    for board_title, some in named:
        there = {panel["title"] for panel in panels(titles.get(board_title, "workers-and-redis"))}
        assert set(re.findall(r"\*([^*]+)\*", some)) <= there, board_title
    shown = {panel["title"] for panel in panels("runbook")}
    assert set(re.findall(r"^## (.+)$", (DEPLOY / "runbook.md").read_text("utf-8"), re.MULTILINE)) <= shown


def test_why_a_broadcast_waits_is_said_in_words() -> None:
    assert set(WORDS) == set(WAITS)


def test_provisioning_finds_the_dashboards_and_their_prometheus() -> None:
    folder = DEPLOY / "grafana" / "provisioning"
    [source] = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())["datasources"]
    [provider] = yaml.safe_load((folder / "dashboards" / "broadcaster.yml").read_text())["providers"]
    for name in NAMES:
        variables = {variable["name"]: variable for variable in board(name)["templating"]["list"]}
        assert variables["datasource"]["current"]["value"] == source["uid"]
    compose = (DEPLOY.parent / "docker-compose.yml").read_text(encoding="utf-8")
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in compose
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    assert source["jsonData"]["timeInterval"] == scraped["global"]["scrape_interval"]


@pytest.mark.parametrize(
    ("values", "grew"),
    [
        ("0x20 1x20", 1),  # it was there, as 0
        ("_x20 1x20", 1),  # born with its first count
        ("_x10 0x10 1x10 0x10", 1),  # born in the window, and its process began anew
        ("_x10 3x10 0x10 4+0x10", 4),  # what it was born with is known no more, the rest is
        ("_x10 2x10 _x20", 2),  # its process has ended
        ("7x40", 0),
    ],
)
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian's prometheus) is not here")
def test_growth_counts_what_a_series_was_born_with_and_survives_a_restart(
    values: str, grew: int, tmp_path: Path
) -> None:
    case = {
        "interval": "15s",
        "input_series": [{"series": "c_total", "values": values}],
        "promql_expr_test": [
            {
                "expr": f"round({grown('c_total', '9m')})",
                "eval_time": "10m",
                "exp_samples": [{"labels": "{}", "value": grew}],
            }
        ],
    }
    (tmp_path / "t.yml").write_text(json.dumps({"rule_files": [], "tests": [case]}), encoding="utf-8")
    told = subprocess.run(
        ["promtool", "test", "rules", "t.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr
