"""Replies: taken once, with what follows from them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from asking import asking, told
from driving import everything
from loading import number
from replying import (
    ANSWERS,
    LONG_CODE,
    PERSON,
    RULES,
    SERVICE,
    SHORT_CODE,
    TESTER,
    TOLL_FREE,
    WHATSAPP,
    form,
    newest,
    opted_out,
    write,
)

from broadcaster.domain.forgotten import addresses_of
from broadcaster.domain.replies import digest_of
from broadcaster.events.stream import OptOutChange, ReplyCame
from broadcaster.ledger.optouts import OptOuts, hash_opt_outs, opt_out
from broadcaster.ledger.people_key import people_key
from broadcaster.operations import replies as acts
from broadcaster.operations.audit import page as audited
from broadcaster.operations.audit import person
from broadcaster.operations.errors import Conflict, NotFound
from broadcaster.operations.people import forget
from broadcaster.operations.replies import receive
from broadcaster.store.connection import open_store
from broadcaster.store.errors import StoreError

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

# -- opting out and in


@pytest.mark.parametrize(
    ("more", "scopes"),
    [
        ({}, {LONG_CODE}),
        ({"MessagingServiceSid": SERVICE}, {SERVICE, LONG_CODE}),
        ({"to": SHORT_CODE}, {SHORT_CODE}),
    ],
)
async def test_stop_is_of_the_sender_and_its_service(
    store: Store, more: dict[str, Any], scopes: set[str]
) -> None:
    await write(store, "Stop!", sid="SM1", **more)
    assert await opted_out(store) == {f"{scope}|{PERSON}": "reply:SM1" for scope in scopes}
    (view,) = await newest(store)
    assert (view.reply.meaning, view.changed, view.flagged) == ("opt_out", len(scopes), False)
    await write(store, "START", **more)
    assert await opted_out(store) == {}


async def test_what_twilio_tells_again_is_taken_once(store: Store) -> None:
    await asking(store, "reply.received", "opt_out.changed")
    first = form("STOP", to=SHORT_CODE)
    heard: list[str] = []
    answer = await receive(store, RULES, first, heard.append)
    before = await everything(store)
    assert await receive(store, RULES, first, heard.append) == answer
    assert heard == ["opt_out"]
    assert await everything(store) == before
    await write(store, "START", RULES, to=SHORT_CODE)
    assert await receive(store, RULES, first) == answer, "what was lost is said again"
    assert await opted_out(store) == {}, "a STOP told again doesn't undo a later START"
    assert len(await newest(store)) == 2
    changes = await told(store)
    assert [type(change) for change in changes] == [OptOutChange, ReplyCame, OptOutChange, ReplyCame]
    assert {c.reply for c in changes if isinstance(c, ReplyCame)} == {v.reply.id for v in await newest(store)}


async def test_start_takes_back_no_opt_out_from_everywhere_and_says_so(store: Store) -> None:
    await store.run(opt_out([PERSON], "complaint"))
    await write(store, "STOP")
    assert await write(store, "START", RULES, to=SHORT_CODE) == ""
    await write(store, "UNSTOP")
    assert await opted_out(store) == {f"*|{PERSON}": "complaint"}
    flags = [view.flag for view in await newest(store, flagged=True)]
    assert len(flags) == 2
    assert all("opted out elsewhere" in flag for flag in flags)


async def test_start_says_for_which_purposes_somebody_stays_out(store: Store) -> None:
    await store.run(opt_out([PERSON], "63033", f"{SERVICE}#marketing"))
    await store.run(opt_out([number(5)], "63033", f"{SERVICE}#marketing"))
    await write(store, "STOP", to=SHORT_CODE)
    await write(store, "START", to=SHORT_CODE)
    assert await newest(store, flagged=True) == [], "it is about another service"
    await write(store, "START", MessagingServiceSid=SERVICE)
    (view,) = await newest(store, flagged=True)
    assert view.flag == "it asks for messages again, but the number stays opted out for marketing"
    assert set(await opted_out(store)) == {f"{SERVICE}#marketing|{who}" for who in (PERSON, number(5))}
    await store.run(hash_opt_outs(await people_key(store), [PERSON]))
    await store.run(opt_out([PERSON], "a call", "*#utility"))
    await write(store, "START", MessagingServiceSid=SERVICE)
    assert (await newest(store, flagged=True))[0].flag.endswith(" for utility, marketing"), (
        "a hash counts, too"
    )


async def test_a_forgotten_person_stays_out_and_can_come_in_again(store: Store) -> None:
    await write(store, "STOP", to=SHORT_CODE)
    key = await people_key(store)
    await store.run(hash_opt_outs(key, [PERSON]))
    (hashed,) = await opted_out(store)
    assert PERSON not in hashed
    assert await write(store, "hello", RULES, to=SHORT_CODE) == "", "no auto-reply to who is out"
    await write(store, "STOP", to=SHORT_CODE)
    assert await opted_out(store) == {hashed: "reply:" + (await newest(store))[-1].reply.id}
    await write(store, "START", to=SHORT_CODE)
    assert await opted_out(store) == {}


async def test_a_forgotten_person_is_never_let_through_by_another_key(store: Store) -> None:
    """Set later, or in one process only, it would make strangers of all who are known by a hash."""
    await store.run(opt_out([PERSON], "test"))
    await forget(store, TESTER, addresses_of(PERSON))
    other = await open_store(store.url, store.keys.prefix)
    other.people_secret = "another key of at least that many characters"
    known = OptOuts()
    with pytest.raises(StoreError, match="BROADCASTER_PEOPLE_KEY"):
        await known.refresh(other)
    assert known.epoch == "", "the gate refuses what was decided by that"
    with pytest.raises(StoreError, match="BROADCASTER_PEOPLE_KEY"):
        await forget(other, TESTER, addresses_of(PERSON))
    await write(other, "STOP", person="+14155550177")
    await other.close()
    await known.refresh(store)
    assert known.blocks(PERSON, known.scopes(LONG_CODE, None, "utility"))
    assert known.blocks("+14155550177", known.scopes(LONG_CODE, None, "utility")), (
        "a STOP stands all the same"
    )


async def test_whose_number_is_not_told_is_for_a_person(store: Store) -> None:
    await write(store, "STOP", person="whatsapp:US.1349", to=WHATSAPP, ExternalUserId="US.1349")
    assert await opted_out(store) == {}
    (view,) = await newest(store, flagged=True)
    assert "no number" in view.flag
    with pytest.raises(Conflict, match="no number"):
        await acts.opt_out_of(store, TESTER, view.reply.id)
    assert (await acts.mark_done(store, TESTER, view.reply.id)).done == "done"
    assert [v.reply.id for v in await newest(store, people=["whatsapp:US.1349"])] == [view.reply.id]


async def test_a_stop_that_is_to_nobody_is_for_a_person(store: Store) -> None:
    await write(store, "STOP", to="")
    (view,) = await newest(store, flagged=True)
    assert "not by whom" in view.flag


async def test_a_stop_needs_no_free_memory(store: Store) -> None:
    await store.redis.config_set("maxmemory", 1)
    await write(store, "STOP")
    assert list(await opted_out(store)) == [f"{LONG_CODE}|{PERSON}"]


async def test_any_form_is_taken(store: Store) -> None:
    chance = random.Random(5)
    names = [
        *form(""),
        "MessagingServiceSid",
        "OptOutType",
        "MediaUrl0",
        "Latitude",
        "Longitude",
        "ButtonText",
    ]
    values = [
        "",
        "STOP",
        "start",
        PERSON,
        "\ud800",
        "\x00|#*\n",
        "x" * 30_000,
        "whatsapp:",
        SERVICE,
        "\u202e9",
    ]
    for _ in range(60):
        fields = {name: chance.choice(values) for name in chance.sample(names, chance.randrange(len(names)))}
        first = await receive(store, RULES, fields)
        assert await receive(store, RULES, fields) == first
    for view in await newest(store):
        assert view.summary()["from"] == view.reply.person
    assert all(field.endswith(f"|{PERSON}") for field in await opted_out(store))


# -- flagged ones


async def test_a_flagged_reply_becomes_an_opt_out_once(store: Store) -> None:
    await write(store, "please stop", MessagingServiceSid=SERVICE)
    (view,) = await newest(store, flagged=True)
    assert await opted_out(store) == {}
    done = await acts.opt_out_of(store, TESTER, view.reply.id)
    assert (done.done, done.done_by, done.flagged) == ("opt-out", "person:test", False)
    assert set(await opted_out(store)) == {f"{SERVICE}|{PERSON}", f"{LONG_CODE}|{PERSON}"}
    assert set((await opted_out(store)).values()) == {f"reply:{view.reply.id}"}
    before = await everything(store)
    assert await acts.opt_out_of(store, TESTER, view.reply.id) == done
    assert await everything(store) == before
    assert await newest(store, flagged=True) == []
    (entry,) = await audited(store)
    assert (entry.what, entry.target) == (
        "reply.opt_out",
        f"{view.reply.id} from {await person(store, PERSON)}",
    )
    assert entry.new == {"scopes": [SERVICE, "+1415•••0199"], "changed": 2}


async def test_who_is_left_alone_already_is_nobodys_work(store: Store) -> None:
    await write(store, "STOP", to=SHORT_CODE)
    await write(store, "I said stop it!", to=SHORT_CODE)
    assert await newest(store, flagged=True) == []
    await write(store, "I said stop it!", to=LONG_CODE)
    assert [view.reply.sender for view in await newest(store, flagged=True)] == [LONG_CODE]


async def test_a_word_ends_what_its_writer_asked_for_before(store: Store) -> None:
    for sid, to in (("SM1", SHORT_CODE), ("SM2", SHORT_CODE), ("SM3", LONG_CODE)):
        await write(store, "please stop", sid=sid, to=to)
    await write(store, "please stop", sid="SM4", to=SHORT_CODE, person=number(5))
    await acts.mark_done(store, TESTER, "SM1")
    await write(store, "STOP", sid="SM5", to=SHORT_CODE)
    assert {view.reply.id for view in await newest(store, flagged=True)} == {"SM3", "SM4"}
    ended = await acts.read(store, "SM2")
    assert (ended.done, ended.done_by) == ("opt-out", "reply:SM5")
    assert (await acts.read(store, "SM1")).done_by == "person:test"


async def test_acts_on_what_is_not_there_are_refused(store: Store) -> None:
    for act in (acts.opt_out_of, acts.mark_done):
        with pytest.raises(NotFound, match="no reply SM9"):
            await act(store, TESTER, "SM9")
    assert await audited(store) == []


# -- what we answer


@pytest.mark.parametrize(
    ("to", "body", "more", "expected"),
    [
        (SHORT_CODE, "STOP", {}, "stop"), (SHORT_CODE, "help", {}, "help"),
        (SHORT_CODE, "START", {}, ""), (WHATSAPP, "STOP", {}, "stop"), (LONG_CODE, "STOP", {}, ""),
        (TOLL_FREE, "HELP", {}, ""),
        (LONG_CODE, "BAJA", {}, "stop"), (LONG_CODE, "hello", {}, "auto"), (WHATSAPP, "hello", {}, "auto"),
        (SHORT_CODE, "STOP", {"OptOutType": "STOP"}, ""), (LONG_CODE, "hello", {"OptOutType": "HELP"}, ""),
        (LONG_CODE, "please stop", {}, ""), (TOLL_FREE, "YES", {}, ""),
    ],
)  # fmt: skip
async def test_we_answer_only_where_twilio_does_not(
    store: Store, to: str, body: str, more: dict[str, Any], expected: str
) -> None:
    person = "whatsapp:" + PERSON if to == WHATSAPP else PERSON
    assert await write(store, body, RULES, to=to, person=person, **more) == ANSWERS.get(expected, "")
    assert (await newest(store))[0].answered == expected


async def test_without_texts_nothing_is_said(store: Store) -> None:
    for body in ("STOP", "START", "HELP", "hello"):
        assert await write(store, body, to=SHORT_CODE) == ""


async def test_robots_that_answer_each_other_come_to_an_end(store: Store) -> None:
    said = [await write(store, body, RULES, to=SHORT_CODE) for body in ("hello", "hello", "HELP", "HELP")]
    assert said == [ANSWERS["auto"], "", ANSWERS["help"], ""]
    assert await write(store, "hello", RULES, to=LONG_CODE) == ANSWERS["auto"], "another sender"
    assert await write(store, "hello", RULES, to=SHORT_CODE, person=number(7)) == ANSWERS["auto"]
    answered = store.keys.plain(f"answered:{SHORT_CODE}")
    assert 86_000 < await store.redis.ttl(answered) <= 86_400
    await store.redis.zincrby(answered, -86_401, f"auto:{digest_of(PERSON)}")
    assert await write(store, "hello", RULES, to=SHORT_CODE) == ANSWERS["auto"]
    said = [await write(store, body, RULES, to=SHORT_CODE) for body in ("STOP", "STOP", "hello", "HELP")]
    assert said == [ANSWERS["stop"], "", "", ""]
    said = [await write(store, body, RULES, to=SHORT_CODE) for body in ("START", "YES", "START")]
    assert said == [ANSWERS["start"], "", ""], "a yes to whatever was asked is none to us"
