"""The simulator's message list: its order, filters and pages, and how it lags behind."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from simulator_api import GOOD, SENDER, api_of


async def test_the_list_pages_filters_and_orders() -> None:
    async with api_of(senders={SENDER: 1.0}, delivery_seconds=0) as api:
        sids = [(await api.made(**GOOD | {"To": f"+1415555{n:04d}"}))["sid"] for n in range(5)]
        begin = api.simulator.accepted[0].created
        api.at(begin + 3.5)  # three were sent
        first = await api.page(PageSize=2)
        assert [m["sid"] for m in first["messages"]] == [sids[4], sids[3]]
        assert first["messages"][0]["date_sent"] is None
        seen, page = [m["sid"] for m in first["messages"]], first
        while page["next_page_uri"]:
            page = (await api.http.get(page["next_page_uri"])).json()
            seen += [m["sid"] for m in page["messages"]]
        assert seen == [sids[4], sids[3], sids[2], sids[1], sids[0]]
        api.simulator.configure(list_nulls="last")
        assert [m["sid"] for m in (await api.page())["messages"]] == [
            sids[2],
            sids[1],
            sids[0],
            sids[4],
            sids[3],
        ]

        assert [m["sid"] for m in (await api.page(To="+14155550002"))["messages"]] == [sids[2]]
        moment = datetime.fromtimestamp(int(begin + 2), UTC).isoformat().replace("+00:00", "Z")
        since = await api.page(**{"DateSent>": moment})
        assert {m["sid"] for m in since["messages"]} == {sids[2], sids[1]}
        until = await api.page(**{"DateSent<": moment})
        assert {m["sid"] for m in until["messages"]} == {sids[1], sids[0]}
        today = datetime.fromtimestamp(begin + 3, UTC).date().isoformat()
        assert {m["sid"] for m in (await api.page(DateSent=today))["messages"]} <= set(sids[:3])
        api.simulator.configure(nulls_pass_date_filters=True)
        assert len((await api.page(**{"DateSent>": moment}))["messages"]) == 4


async def test_the_list_refuses_large_pages_and_can_fail_half_way() -> None:
    async with api_of() as api:
        for n in range(3):
            await api.made(**GOOD | {"To": f"+1415555{n:04d}"})
        assert (await api.page(PageSize=1001))["code"] == 20007
        assert (await api.page(PageSize=1000))["page_size"] == 1000
        api.simulator.configure(list_fail_from_page=1)
        first = await api.page(PageSize=1)
        answer = await api.http.get(first["next_page_uri"])
        assert (answer.status_code, answer.json()["code"]) == (500, 20500)


async def test_the_list_lags_and_the_clock_is_skewed() -> None:
    async with api_of(list_lag_seconds=30, clock_skew_seconds=3600) as api:
        made = await api.made(**GOOD)
        begin = api.simulator.accepted[0].created
        assert parsedate_to_datetime(made["date_created"]).timestamp() == int(begin + 3600)
        dated = await api.http.get(f"{api.base}.json")
        assert abs(parsedate_to_datetime(dated.headers["date"]).timestamp() - begin - 3600) < 30
        assert (await api.page())["messages"] == []
        assert (await api.get(made["sid"]))["sid"] == made["sid"]
        api.at(begin + 31)
        assert len((await api.page())["messages"]) == 1
