from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from broadcaster.domain.broadcast import BroadcastSpec
from broadcaster.domain.content import Content, compile_content
from broadcaster.domain.reference import Reference, References
from broadcaster.store.batches import Recipients, pack_batch
from broadcaster.twilio.callback_urls import CallbackUrls
from workers.contents import _make

OLD, NEW = "o" * 32, "n" * 40
ONE = Reference("1nf3r8k2m0t4qa", "3.17", 499, 2)


def test_a_reference_leads_back_to_its_attempt() -> None:
    text = References([NEW]).make(ONE)
    assert re.fullmatch(r"1nf3r8k2m0t4qa\.3\.17\.499\.2\.[\w-]{11}", text)
    assert References([NEW]).read(text.encode()) == ONE


def test_the_first_key_signs_and_all_are_accepted() -> None:
    both = References([NEW, OLD])
    assert both.read(References([OLD]).make(ONE).encode()) == ONE
    assert both.make(ONE) == References([NEW]).make(ONE)
    assert References([OLD]).read(both.make(ONE).encode()) is None


def test_who_has_no_key_makes_none() -> None:
    with pytest.raises(ValueError, match="signing key"):
        References([])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda text: text[:0],
        lambda text: text[:-1],
        lambda text: text + "A",
        lambda text: text[:-1] + ("A" if text[-1] != "A" else "B"),
        lambda text: text.replace(".499.", ".498."),
        lambda text: text.replace(".2.", ".3."),
        lambda text: text.replace("3.17", "03.17"),
        lambda text: text.replace("1nf", "2nf"),
        lambda text: text.rpartition(".")[0],
        lambda text: text.replace(".", "\0"),
        lambda text: "é" + text,
        lambda text: text.replace("499", "٤٩٩"),
        lambda text: "9" * 5000 + text,
    ],
)
def test_nothing_else_is_read(wrong: object) -> None:
    assert callable(wrong)
    assert References([NEW]).read(wrong(References([NEW]).make(ONE)).encode()) is None


def test_a_message_says_where_to_tell_what_became_of_it() -> None:
    references = References([NEW])
    urls = CallbackUrls("https://alerts.example.org/sms", references)
    spec = BroadcastSpec(name="n", senders=("+1",), content=Content(body="hi"))
    raw = pack_batch(Recipients(["+14155550100", "+14155550101"], None, (), []))
    batch = _make(raw, spec, compile_content(spec.content), "+1", urls.of_batch("1nf3r8k2m0t4qa", "3.17"))
    form = parse_qs(batch.form(1, 2).decode())
    whole = urlsplit(form["StatusCallback"][0])
    assert (whole.netloc, whole.path) == ("alerts.example.org", "/sms/webhooks/twilio/status")
    assert whole.fragment == "rc=5&rp=all"
    assert references.read(parse_qs(whole.query)["r"][0].encode()) == Reference(ONE.broadcast, "3.17", 1, 2)
    assert (form["To"], form["Body"]) == (["+14155550101"], ["hi"])
    assert b"StatusCallback" not in _make(raw, spec, compile_content(spec.content), "+1").form(0, 1)
