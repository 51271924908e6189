"""Marketing: a text that says how to opt out, and consent of everybody."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from broadcaster.domain.content import Content, compile_content
from broadcaster.domain.opt_out_hints import NO_HINT, has_opt_out_hint, warnings_about
from broadcaster.domain.purpose import Purpose
from broadcaster.intake.faults import ColumnError, ListRefusedError
from broadcaster.intake.prepare import Preparation
from broadcaster.intake.read_csv import CsvReader
from broadcaster.intake.sources import ListSource

if TYPE_CHECKING:
    from broadcaster.intake.batches import BatchRows


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("Sale! Reply STOP to end.", True),
        ("Sale! Txt stop2end", False),
        ("Opt-out: reply N", True),
        ("{{ name }}, 20 % off. Unsubscribe: example.com/u", True),
        ("Oferta: responde BAJA para no recibir más", True),
        ("Angebot. Abmelden: antworte STOPP", True),
        ("特别优惠,回复TD退订", True),
        ("お得な情報 配信停止はこちら", True),
        ("छूट! बंद करने के लिए जवाब दें", True),
        ("Скидки! Отписаться: ответьте СТОП", True),
        ("The sale ends tonight", False),
        ("Non-stop fun, all night: the doors open at nine", True),  # a hint missed is worse than one too many
        ("", False),
    ],
)
def test_a_hint_is_known_in_many_languages(text: str, has: bool) -> None:  # noqa: FBT001 - a table's column
    assert has_opt_out_hint(text) is has


def test_only_marketing_that_has_a_text_is_warned_of() -> None:
    assert warnings_about(Purpose.MARKETING, Content(body="Sale!")) == (NO_HINT,)
    assert warnings_about(Purpose.MARKETING, Content(body="Sale! STOP to end")) == ()
    assert warnings_about(Purpose.UTILITY, Content(body="Sale!")) == ()
    assert warnings_about(Purpose.MARKETING, Content(content_sid="HX" + "0" * 32)) == ()


def prepare(text: str, body: str, column: str) -> list[BatchRows]:
    reader = CsvReader(ListSource(io.BytesIO(text.encode()), "list.csv"), delimiter=",")
    renderer, senders = compile_content(Content(body=body)), [("+14155550199", 10.0)]
    return list(Preparation(reader, renderer=renderer, senders=senders, consent_column=column))


TEXT = "to,agreed,name\n+14155550100,form 2026,Ada\n+14155550101, ,Bob\n+14155550102,shop,Cam\n"


def test_whoever_has_not_agreed_is_a_fault() -> None:
    with pytest.raises(ListRefusedError) as refused:
        prepare(TEXT, "Hi", "agreed")
    (fault,) = refused.value.shown
    assert (fault.line, fault.column) == (3, "agreed")
    assert "nothing says where and when this person agreed" in fault.reason
    with pytest.raises(ColumnError, match=r"no column 'consent'. Its columns: 'to', 'agreed', 'name'"):
        prepare(TEXT, "Hi", "consent")


@pytest.mark.parametrize(("body", "columns"), [("Hi", ("agreed",)), ("Hi {{ name }}", ("name", "agreed"))])
def test_consent_is_kept_with_each_message(body: str, columns: tuple[str, ...]) -> None:
    (batch,) = prepare(TEXT.replace("01, ,", "01,paper,"), body, "agreed")
    assert batch.columns == columns
    assert batch.values[columns.index("agreed")] == ["form 2026", "paper", "shop"]
