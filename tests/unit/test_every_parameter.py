"""Every parameter of Create Message: passes with its rules, however it is given."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import click
import pytest

from broadcaster.cli.content_options import content_of, content_options
from broadcaster.cli.exits import InputError
from broadcaster.domain.broadcast import BroadcastSpec
from broadcaster.domain.content import Content, compile_content
from broadcaster.domain.create_message import (
    TWILIO_NAMES,
    CreateMessage,
    check,
    check_content,
    nearest,
    options_of,
    parse_form,
)
from broadcaster.domain.shown import SHOWN, Shown, goes_elsewhere, shown
from broadcaster.intake.faults import FaultList, ListRefusedError
from broadcaster.intake.prepare import Preparation
from broadcaster.intake.read_csv import CsvReader
from broadcaster.intake.sources import ListSource
from broadcaster.operations.order_form import OrderForm
from broadcaster.store.batches import Recipients, pack_batch
from workers.contents import _make

SERVICE = "MG" + "0a" * 16
TO = "+12015550123"
WHATSAPP = "whatsapp:+14155550100"
APP = "AP" + "0A" * 16
SOON = "2030-01-31T12:00:00Z"
AT = 1896091200.0 - 3600  # an hour before that
GEO = "geo:47.3769,8.5417"

#: Name, (value in JSON, as it is sent), (value that is refused, Twilio's code for it).
ROWS: list[tuple[str, list[tuple[Any, str | list[str]]], list[tuple[Any, int]]]] = [
    (
        "FallbackFrom",
        [("+14155550100", "+14155550100"), ("12345", "12345"), ("ACME", "ACME")],
        [(SERVICE, 21665), (WHATSAPP, 21665), ("", 21665), ("4155550100", 21665)],
    ),
    (
        "StatusCallback",
        [("https://example.com/a_b", "https://example.com/a_b")],
        [("https://a_b.com", 21609)],
    ),
    ("ApplicationSid", [(APP, APP)], [("AP12", 20422)]),
    (
        "ValidityPeriod",
        [(1, "1"), ("36000", "36000"), (" 60 ", "60")],
        [(0, 21624), (36001, 21624), (1.5, 20422)],
    ),
    ("ShortenUrls", [(True, "true"), ("false", "false")], [("yes", 20422), (1, 20422)]),
    ("SmartEncoded", [(False, "false"), ("true", "true")], [("on", 20422)]),
    ("SendAsMms", [(True, "true")], [("", 20422)]),
    ("ProvideFeedback", [(True, "true")], [(0, 20422)]),
    ("ForceDelivery", [(True, "true")], [("no", 20422)]),
    ("ContentRetention", [("retain", "retain"), ("discard", "discard")], [("delete", 30029)]),
    ("AddressRetention", [("retain", "retain"), ("obfuscate", "obfuscate")], [("hide", 30030)]),
    ("RiskCheck", [("enable", "enable"), ("disable", "disable")], [(True, 20422)]),
    ("TrafficType", [("free", "free")], [("paid", 20422)]),
    ("Attempt", [(1, "1"), (7, "7")], [(0, 20422), ("first", 20422)]),
    (
        "MaxPrice",
        [(0, "0"), (0.25, "0.25")],
        [(-1, 20422), ("nan", 20422), ("1e400", 20422), ("cheap", 20422)],
    ),
    (
        "PersistentAction",
        [(GEO, [GEO]), ([f"{GEO}|Zürich HB", "geo:-90,180"], [f"{GEO}|Zürich HB", "geo:-90,180"])],
        [
            (one, 0)
            for one in (
                "here",
                "geo:90.1,0",
                "geo:0,-180.5",
                "geo:1",
                "geo:1,2|",
                "geo:1e1,2",
                "mailto:a@b.c",
            )
        ],
    ),
    ("ScheduleType", [], [("later", 35126)]),
    ("SendAt", [], [("tomorrow", 35114), ("2030-01-31T11:10:00Z", 35115)]),
]
#: What a broadcast fills in itself.
OURS = ("To", "From", "MessagingServiceSid", "Body", "MediaUrl", "ContentSid", "ContentVariables")
TAKEN = [(name, value, sent) for name, taken, _ in ROWS for value, sent in taken]
REFUSED = [(name, value, code) for name, _, refused in ROWS for value, code in refused]


def test_the_table_has_every_parameter_of_twilios_openapi_file() -> None:
    described = json.loads((Path(__file__).parents[1] / "twilio/openapi/messages.json").read_text())
    post = described["paths"]["/2010-04-01/Accounts/{AccountSid}/Messages.json"]["post"]
    (form,) = post["body"].values()
    assert {name for name, *_ in ROWS} | set(OURS) == set(form["properties"])
    assert set(TWILIO_NAMES.values()) == set(SHOWN) == set(form["properties"])


def in_json(name: str, value: Any) -> Content:
    return OrderForm.model_validate({"body": "hi", "options": {name: value}}).content


def on_the_command_line(name: str, value: Any) -> Content:
    @click.command()
    @content_options
    def read(**given: Any) -> Content:
        return content_of(given)

    texts = [str(one).lower() if isinstance(one, bool) else str(one) for one in _list(value)]
    arguments = ["--body", "hi", *(part for text in texts for part in ("--option", f"{name}={text}"))]
    found: Content = read.main(arguments, standalone_mode=False)
    return found


def in_a_form(name: str, value: Any) -> Content:
    """As the route that speaks Twilio's language reads it."""
    texts = [str(one).lower() if isinstance(one, bool) else str(one) for one in _list(value)]
    return Content(body="hi", options=options_of((name, text) for text in texts))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


WAYS = (in_json, on_the_command_line, in_a_form)


def lane_for(name: str) -> str:
    return WHATSAPP if name == "PersistentAction" else SERVICE


def faults(content: Content, lane: str) -> list[tuple[str, int]]:
    service = lane if lane.startswith("MG") else None
    found = check_content(content, from_=None if service else lane, messaging_service_sid=service, now=AT)
    return [(fault.parameter, fault.twilio_code) for fault in found]


@pytest.mark.parametrize(("name", "value", "sent"), TAKEN)
def test_it_passes_by_every_way(name: str, value: Any, sent: str | list[str]) -> None:
    lane = lane_for(name)
    to = f"whatsapp:{TO}" if lane == WHATSAPP else TO
    for way in WAYS:
        content = way(name, value)
        assert faults(content, lane) == [], way
        spec = BroadcastSpec(name="n", senders=(lane,), content=content)
        packed = pack_batch(Recipients([to], None, (), []))
        form = parse_qs(_make(packed, spec, compile_content(content), lane).form(0, 1).decode())
        assert form[name] == _list(sent), way


@pytest.mark.parametrize(("name", "value", "code"), REFUSED)
def test_it_is_refused_by_every_way(name: str, value: Any, code: int) -> None:
    for way in WAYS:
        content = way(name, value)
        if name == "SendAt":
            content.options["ScheduleType"] = "fixed"
        elif name == "ScheduleType":
            content.options["SendAt"] = SOON
        assert (name, code) in faults(content, lane_for(name)), way


@pytest.mark.parametrize("name", OURS)
def test_what_a_broadcast_sets_itself_is_no_option(name: str) -> None:
    for way in WAYS:
        assert name in [parameter for parameter, _ in faults(way(name, "x"), SERVICE)]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("ShortenUrl", "ShortenUrls"),
        ("shorten_urls", "ShortenUrls"),
        ("VALIDITYPERIOD", "ValidityPeriod"),
        ("statusCallbackUrl", "StatusCallback"),
        ("Tags", ""),
    ],
)
def test_who_errs_in_a_name_is_told_the_nearest(written: str, meant: str) -> None:
    assert nearest(written) == meant
    ((fault, *_), *_) = (
        check_content(way(written, "true"), from_=None, messaging_service_sid=SERVICE) for way in WAYS
    )
    assert fault.rule == "Create Message has no such parameter" + (
        f": did you mean {meant}?" if meant else ""
    )


def test_combinations_that_make_no_sense_are_said() -> None:
    def codes(**options: str) -> set[tuple[str, int]]:
        fields, unread = parse_form(options.items())
        assert unread == []
        return {(f.parameter, f.twilio_code) for f in check(CreateMessage(to=TO, body="x", **fields))}

    alone = {"From": "+14155550100"}
    assert codes(**alone, ShortenUrls="true") == {("ShortenUrls", 0)}
    assert codes(**alone, FallbackFrom="12345") == {("FallbackFrom", 21664)}
    assert codes(MessagingServiceSid=SERVICE, FallbackFrom="12345", **alone) == {("FallbackFrom", 21664)}
    assert codes(**alone, ApplicationSid=APP, StatusCallback="https://a.example") == {("ApplicationSid", 0)}
    assert codes(**alone, PersistentAction=GEO) == {("PersistentAction", 0)}
    assert codes(**alone, SendAt=SOON, ScheduleType="fixed") == {("SendAt", 35118)}
    assert codes(MessagingServiceSid=SERVICE, SendAt=SOON) == {("ScheduleType", 0)}
    with pytest.raises(InputError, match="write each once"):
        on_the_command_line("ValidityPeriod", [1, 2])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, Shown.AS_SENT),
        ({"ShortenUrls": "true"}, Shown.OTHER_BODY),
        ({"ShortenUrls": "false", "ContentRetention": "retain", "SendAsMms": "False"}, Shown.AS_SENT),
        ({"ContentRetention": "discard"}, Shown.OTHER_BODY),
        ({"AddressRetention": "obfuscate"}, Shown.OTHER_BODY | Shown.OTHER_ADDRESS),
        ({"AddressRetention": "retain"}, Shown.AS_SENT),
        ({"FallbackFrom": "12345"}, Shown.OTHER_BODY | Shown.OTHER_ADDRESS),
        ({"PersistentAction": GEO}, Shown.OTHER_BODY),
        (
            {"SendAt": SOON, "ScheduleType": "fixed", "SmartEncoded": "true", "RiskCheck": "disable"},
            Shown.AS_SENT,
        ),
        ({"SomethingNew": "1"}, Shown.OTHER_BODY | Shown.OTHER_ADDRESS),
    ],
)
def test_what_the_list_may_show_otherwise(options: dict[str, str], expected: Shown) -> None:
    assert shown(Content(body="x", options=options)) == expected
    media = Content(body="x", media_urls=("https://example.com/a.png",), options=options)
    assert shown(media) == expected | Shown.OTHER_BODY


def test_a_pool_with_rcs_may_write_on_another_channel() -> None:
    assert goes_elsewhere(["+14155550100", "rcs:brand_agent"])
    assert not goes_elsewhere(["+14155550100", "whatsapp:+14155550100", "12345"])


def test_a_place_to_who_is_not_on_whatsapp_is_a_fault_of_that_row() -> None:
    content = Content(body="{{ name }}", options={"PersistentAction": GEO})
    assert faults(content, SERVICE) == [], "a service may have WhatsApp senders"
    assert faults(content, "+14155550199") == [("PersistentAction", 0)]
    rows = "to,name\nwhatsapp:+14155550100,Shelter\n+14155550101,Shelter\n"
    for body in ("{{ name }}", "Shelter"):
        told = FaultList()
        prepared = Preparation(
            CsvReader(ListSource(io.BytesIO(rows.encode()), "list.csv"), delimiter=","),
            renderer=compile_content(Content(body=body, options=content.options)),
            senders=[(SERVICE, 10.0)],
            faults=told,
        )
        with pytest.raises(ListRefusedError) as refused:
            list(prepared)
        ((fault,),) = (refused.value.shown,)
        assert (fault.line, "only WhatsApp shows places" in fault.reason) == (3, True)
