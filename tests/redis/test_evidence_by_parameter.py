"""Whatever a parameter changes of what Twilio shows: the message is found in its list, or held."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from driving import ask, join, result, take, tell
from loading import counts, load, records

from broadcaster.domain.content import Content, Template
from broadcaster.domain.evidence import Patience
from broadcaster.domain.record import Reason, State
from broadcaster.lanes import claims
from broadcaster.ledger.pools import keep_pool
from broadcaster.simulator.config import (
    ACCOUNT_SID,
    SERVICE_SID,
    TEMPLATE_SID,
    ServiceConfig,
    SimulatorConfig,
    TemplateConfig,
)
from broadcaster.simulator.server import running_simulator
from broadcaster.telemetry.metrics import Metrics
from broadcaster.twilio.rest import TwilioRest
from broadcaster.twilio.send import MessageSender
from workers.contents import Contents
from workers.pools import Pools
from workers.settling import Settler, Settling

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

AUTH = (ACCOUNT_SID, "simulator")
PLAIN, ENCODING, RCS = "+14155550199", "MG" + "2" * 32, "MG" + "3" * 32
SENDERS = (PLAIN, "12345")
#: What smart encoding and short links both change.
TEXT = "\u201cHi\u201d \u2013 look: https://example.com/a/long/path?of=it"


PLAINLY = Content(body=TEXT)


@dataclass(frozen=True)
class Row:
    """A content from a sender; `same`: its text is shown as it was sent, so others are told apart by it.

    `posted`: Twilio took it, of which nobody heard; `ends`: what becomes of it.
    """

    name: str
    lane: str = SERVICE_SID
    content: Content = PLAINLY
    same: bool = False
    posted: bool = True
    ends: State = State.ACCEPTED


def options(**given: str) -> Content:
    return Content(body=TEXT, options=given)


ROWS = [
    Row("nothing", PLAIN, same=True),
    Row("a service", same=True),
    Row("a service with smart encoding", ENCODING, same=True),
    Row("SmartEncoded", content=options(SmartEncoded="true"), same=True),
    Row("ShortenUrls", content=options(ShortenUrls="true")),
    Row("ShortenUrls and SmartEncoded", ENCODING, options(ShortenUrls="true", SmartEncoded="true")),
    Row("ContentRetention", content=options(ContentRetention="discard")),
    Row("SendAsMms", content=options(SendAsMms="true")),
    Row("MediaUrl", content=Content(body=TEXT, media_urls=("https://example.com/a.png",))),
    Row("only MediaUrl", PLAIN, Content(media_urls=("https://example.com/a.png",))),
    Row("ContentSid", content=Content(content_sid=TEMPLATE_SID, content_variables={"1": "Ann"})),
    Row("a fallback template", content=Content(body=TEXT, fallback=Template(TEMPLATE_SID))),
    Row(
        "SendAt",
        content=options(
            SendAt=(datetime.now(UTC) + timedelta(hours=1)).isoformat(), ScheduleType="fixed"
        ),
        same=True,
    ),
    Row("all that changes nothing", PLAIN, options(
        ValidityPeriod="600", ProvideFeedback="true", ForceDelivery="true", RiskCheck="disable",
        Attempt="2", MaxPrice="1", TrafficType="free", AddressRetention="retain",
        StatusCallback="https://hooks.example.com/s",
    ), same=True),
    Row("FallbackFrom", content=options(FallbackFrom="12345")),
    Row("AddressRetention", content=options(AddressRetention="obfuscate"), ends=State.DEAD),
    # what Twilio's list can't show is held, not sent again; what it can goes again
    Row("absent", posted=False, ends=State.RETRY),
    Row("absent, with short links", content=options(ShortenUrls="true"), posted=False, ends=State.RETRY),
    Row("absent, with FallbackFrom", content=options(FallbackFrom="12345"), posted=False, ends=State.DEAD),
    Row("absent, of a pool with RCS", RCS, posted=False, ends=State.DEAD),
]  # fmt: skip


async def test_it_is_found_or_held(store: Store) -> None:
    config = SimulatorConfig(
        senders=dict.fromkeys(SENDERS, 1000.0),
        services={
            SERVICE_SID: ServiceConfig(senders=SENDERS),
            ENCODING: ServiceConfig(senders=SENDERS, smart_encoding=True),
        },
        templates={TEMPLATE_SID: TemplateConfig(body="Hello {{1}}", variables={"1": "you"})},
        delivery_seconds=0,
    )
    async with (
        running_simulator(config) as simulator,
        MessageSender(ACCOUNT_SID, AUTH, simulator.url) as sender,
        TwilioRest(ACCOUNT_SID, AUTH, simulator.url) as rest,
    ):
        bids = {
            await load(store, {row.lane: 1}, content=row.content, first=place): row
            for place, row in enumerate(ROWS)
        }
        for service in (SERVICE_SID, ENCODING):
            await store.run(keep_pool(service, SENDERS, 1))
        await store.run(keep_pool(RCS, [PLAIN, "rcs:brand_agent"]))
        epoch = (await join(store)).optout_epoch
        contents, sids = Contents(store), dict[str, str | None]()
        while slices := await take(store, horizon_seconds=5):
            batches = await contents.load(slices)
            for held in slices:
                batch = batches.get((held.broadcast, held.batch))
                assert batch is not None
                assert (await ask(store, held, optout_epoch=epoch)).yes == "1"
                if bids[held.broadcast].same:  # somebody else's, of the same moment, to the same person
                    form = batch.form(0, 1)
                    await sender.post(form.replace(b"look", b"listen"))
                outcome = await sender.post(batch.form(0, 1)) if bids[held.broadcast].posted else None
                assert outcome is None or outcome.sid, (bids[held.broadcast].name, outcome)
                sids[held.broadcast] = outcome.sid if outcome else None
                await tell(store, held, [result(0, 1, State.IN_DOUBT, code=503, spend=1)])
                await store.run(claims.release("w1", [held.claim]))
        assert len(sids) == len(ROWS)
        for message in simulator.world.messages:  # what forgets its text or number does so once it has left
            if not message.scheduled_at:
                message.chosen_at = message.starts_at = message.leaves_at = message.ends_at = 0.0
        how = Settling(Patience(0.0, 0.0))
        pools = Pools(store, rest.service_pool)
        await Settler(store, rest, how, Metrics(), pools).round()
        for bid, row in bids.items():
            (record,) = (await records(store, bid)).values()
            assert await counts(store, bid) == {row.ends: 1}, row.name
            if row.ends is State.ACCEPTED:
                assert record.sid == sids[bid], row.name
            elif row.ends is State.DEAD:
                assert record.code == Reason.UNKNOWN, row.name
