"""What is sent, as the command line and JSON say it: both mean the same."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from broadcaster.cli.content_options import content_of, content_options
from broadcaster.cli.exits import InputError
from broadcaster.cli.sending_over_api import content_fields
from broadcaster.domain.content import Content, SmsFallback, Template
from broadcaster.operations.content_form import ContentForm

SID = "HX" + "a" * 32


def read(*arguments: str) -> Content:
    found: list[Content] = []

    @click.command()
    @content_options
    def command(**given: Any) -> None:
        found.append(content_of(given))

    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    if result.exception:
        raise result.exception
    return found[0]


ORDERS: dict[str, tuple[tuple[str, ...], Content]] = {
    "text": (("--body", "Hi"), Content(body="Hi")),
    "template": (
        ("--content-sid", SID, "--content-variables", '{"1": "{{ name }}", "2": 3}'),
        Content(content_sid=SID, content_variables={"1": "{{ name }}", "2": "3"}),
    ),
    "languages": (
        (
            "--content-sid",
            f"de={SID}",
            "--content-sid",
            f"pt-BR={SID}",
            "--content-sid",
            SID,
            "--language-column",
            "lang",
        ),
        Content(content_sid=SID, languages={"de": SID, "pt-BR": SID}, language_column="lang"),
    ),
    "stand-ins": (
        (
            "--body",
            "Hi",
            "--fallback-content-sid",
            SID,
            "--fallback-content-variables",
            '{"1": "{{ n }}"}',
            "--sms-fallback",
            "12345",
            "--sms-fallback-body",
            "Read us",
        ),
        Content(body="Hi", fallback=Template(SID, {"1": "{{ n }}"}), sms=SmsFallback("12345", "Read us")),
    ),
    "the same text": (
        ("--body", "Hi", "--sms-fallback", "12345"),
        Content(body="Hi", sms=SmsFallback("12345")),
    ),
    "place": (
        ("--body", "Shelter", "--location", "47.3769,8.5417,Main station"),
        Content(body="Shelter", options={"PersistentAction": "geo:47.3769,8.5417|Main station"}),
    ),
    "options": (
        (
            "--body",
            "Hi",
            "--option",
            "ValidityPeriod=60",
            "--option",
            "StatusCallback=https://x.example/?a=b",
        ),
        Content(body="Hi", options={"ValidityPeriod": "60", "StatusCallback": "https://x.example/?a=b"}),
    ),
    "media": (
        ("--media-url", "https://x.example/1.png", "--media-url", "https://x.example/2.png"),
        Content(media_urls=("https://x.example/1.png", "https://x.example/2.png")),
    ),
}


@pytest.mark.parametrize("name", ORDERS)
def test_options_say_what_is_sent(name: str) -> None:
    arguments, content = ORDERS[name]
    assert read(*arguments) == content


@pytest.mark.parametrize("name", ORDERS)
def test_the_api_takes_from_the_command_line_what_it_was_told(name: str) -> None:
    content = ORDERS[name][1]
    fields = {field: value for field, value in content_fields(content).items() if value is not None}
    assert ContentForm.model_validate(fields).content == content


def test_json_takes_a_place_in_degrees() -> None:
    form = ContentForm.model_validate(
        {"body": "x", "location": {"latitude": 47.5, "longitude": -8, "label": "y"}}
    )
    assert form.content.options == {"PersistentAction": "geo:47.5,-8|y"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--content-sid", SID, "--content-sid", SID), "twice"),
        (("--content-sid", f"={SID}"), "each language once"),
        (("--content-sid", f"de={SID}", "--content-sid", f"de={SID}"), "each language once"),
        (("--content-variables", "{"), "--content-variables is no JSON"),
        (("--content-variables", "[1]"), "must be a JSON object"),
        (("--fallback-content-variables", "{}"), "--fallback-content-sid"),
        (("--sms-fallback-body", "x"), "--sms-fallback SENDER"),
        (("--location", "here"), "--location: 'here' is no place"),
        (("--option", "Attempt"), "--option 'Attempt'"),
        (("--option", "=1"), "--option '=1'"),
        (("--option", "Attempt=1", "--option", "Attempt=2"), "each once"),
    ],
)
def test_what_makes_no_sense_is_told(arguments: tuple[str, ...], told: str) -> None:
    with pytest.raises(InputError, match="(?s)" + told.replace("(", r"\(")):
        read(*arguments)
