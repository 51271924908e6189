"""Who is in a list as their number is dialled writes to us from the form that WhatsApp has of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from replying import TESTER, WHATSAPP, newest, opted_out, write
from windowing import HOUR, SENDER, refused, scene

from broadcaster.domain.purpose import Purpose
from broadcaster.domain.whatsapp_window import Mark
from broadcaster.ledger import inbound
from broadcaster.ledger.optouts import OptOuts
from broadcaster.operations import replies as acts

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

#: As lists have it, and as WhatsApp tells it.
LISTED, TOLD = "whatsapp:+525512345678", "whatsapp:+5215512345678"


async def test_stop_and_start_are_of_every_form(store: Store) -> None:
    both = {f"{WHATSAPP}|{one}" for one in (LISTED, TOLD)}
    for _ in range(2):
        await write(store, "Stop", sid="SM1", person=TOLD, to=WHATSAPP)
        assert await opted_out(store) == dict.fromkeys(both, "reply:SM1")
    known = OptOuts()
    await known.refresh(store)
    assert known.blocks(LISTED, known.scopes(WHATSAPP, None, Purpose.UTILITY))
    await write(store, "Start", sid="SM2", person=TOLD, to=WHATSAPP)
    assert await opted_out(store) == {}
    await write(store, "leave me alone, please", sid="SM3", person=LISTED, to=WHATSAPP)
    (view,) = [one for one in await newest(store) if one.reply.id == "SM3"]
    await acts.opt_out_of(store, TESTER, view.reply.id)
    assert (await opted_out(store)).keys() == both


async def test_whoever_wrote_from_another_form_gets_the_text(store: Store) -> None:
    async with scene(store) as twilio:
        await twilio.wrote(TOLD, HOUR)
        assert not (await twilio.take([LISTED])).known, "asked of Twilio's list, one by one"
        await twilio.wrote("whatsapp:+553188887777", HOUR)
        assert not (await twilio.take(["whatsapp:+5531988887777"])).known
        now = (await store.redis.time())[0]
        # told in both forms: the later counts
        await store.run_all(inbound.wrote(SENDER, {TOLD: now - 60, LISTED: now - 2 * 86_400}))
        await store.run_all(inbound.refused(SENDER, {LISTED: now - 30}))
        (fault,) = await refused(twilio, [TOLD])
        assert "24 hours" in fault.reason
        await inbound.forget_marks(store, [LISTED])
        known = await inbound.read_marks(store, [inbound.Asked(SENDER, [SENDER], [TOLD])])
        assert known.marks == [[[Mark()]]]
