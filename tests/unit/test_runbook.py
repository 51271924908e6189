"""The runbook: an entry for each alert, whose commands, settings, panels and queries exist."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any, Final

import click
import pytest
from alerting import FOLDER, RUNBOOK, alerts, entries, recorded
from promql import faults

from broadcaster.cli.root import cli
from broadcaster.cli.settings_table import describe

TEXT: Final = RUNBOOK.read_text(encoding="utf-8")


def commands() -> list[str]:
    """Return the `broadcaster …` of its sh blocks and of its text, comments left out."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", TEXT, re.MULTILINE | re.DOTALL)
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    prose = re.sub(r"^ *```.*?^ *```", "", TEXT, flags=re.MULTILINE | re.DOTALL)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    return sorted({one for one in lines + spans if one.startswith("broadcaster ")})


@pytest.mark.parametrize("command", commands())
def test_a_command_can_be_typed_like_that(command: str) -> None:
    """Parsed, not run: names, options and how many arguments there may be."""
    words = shlex.split(command)[1:]
    here: click.Command = cli
    context = click.Context(cli, info_name="broadcaster")
    while isinstance(here, click.Group):
        found = here.get_command(context, words[0])
        assert found is not None, f"there is no {words[0]}"
        here, words = found, words[1:]
        context = click.Context(here, parent=context, info_name=here.name)
    bare = not words  # speaks of the command, rather than saying what to type
    values, rest, _ = here.make_parser(context).parse_args(list(words))
    assert rest == [] or here.ignore_unknown_options
    asked = [p for p in here.params if p.required and p.expose_value and not values.get(p.name or "")]
    assert bare or [p.name for p in asked] == []
    for choice in here.params:
        value = values.get(choice.name or "")
        if isinstance(choice.type, click.Choice) and isinstance(value, str):
            assert value in choice.type.choices


def test_there_are_commands() -> None:
    assert len(commands()) > 25


def test_each_alert_has_an_entry_and_each_entry_an_alert() -> None:
    assert list(entries()) == list(dict.fromkeys(entries()))
    assert set(entries()) == {alert.name for alert in alerts()}
    assert all(re.fullmatch(r"\w+", name) for name in entries()), "its anchor would be another"


def test_an_entry_tells_how_to_look_what_to_do_and_when_it_is_over() -> None:
    for name, entry in entries().items():
        for part in ("- **Look**", "**do**:", "- **Over** when"):
            told = entry.lower().replace("**over** only when", "**over** when")
            assert part.lower() in told, f"{name} lacks {part}"


def test_the_panels_it_names_exist() -> None:
    boards: dict[str, set[str]] = {}
    for path in (FOLDER.parent / "grafana" / "dashboards").glob("*.json"):
        board: Any = json.loads(path.read_text(encoding="utf-8"))
        boards[board["title"].rpartition("/ ")[2]] = {panel["title"] for panel in board["panels"]}
    titles = set().union(*boards.values())
    flat = " ".join(TEXT.split())
    named = re.findall(r"\*((?:How|Which|What|Who|Is|Does|Has|May|Since|For|Do)\b[^*]+\?)\*", flat)
    assert len(named) > 30
    assert [name for name in named if name not in titles] == []
    for board_name, title in re.findall(r"▸ ([A-Z][\w ]+): \*([^*]+)\*", flat):
        assert title in boards[board_name], f"{board_name} has no {title}"


def test_its_queries_mean_something() -> None:
    queries = re.findall(r"^ *```promql\n(.*?)^ *```", TEXT, re.MULTILINE | re.DOTALL)
    assert queries
    assert {query: said for query in queries if (said := faults(query, recorded()))} == {}


def test_the_settings_it_names_exist() -> None:
    named = set(re.findall(r"\b(?:TWILIO|BROADCASTER|REDIS)_[A-Z_]+\b", TEXT))
    there = {row.variable.removesuffix("[_FILE]") for row in describe()}
    assert {name for name in named if not there & {name, name.removesuffix("_FILE")}} == set()
