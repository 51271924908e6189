"""One campaign through the services of the compose file: key, broadcast, messages, callbacks, Prometheus."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, Final

import httpx

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from compose_processes import Fleet

#: A short code, at a hundred messages a second.
SENDER: Final = "22395"
_PATIENCE_SECONDS: Final = 90.0
_POLL_SECONDS: Final = 0.2


class CampaignError(Exception):
    """A promise was broken; the message says which."""


async def campaign(fleet: Fleet, recipients: int) -> list[str]:
    """Send to so many through the API; return what was seen. Raises `CampaignError`."""
    people = [f"+1415555{number:04d}" for number in range(recipients)]
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        key = json.loads(
            await fleet.run(
                "api", "broadcaster", "keys", "create", "--name", "me", "--scopes", "admin", "--json"
            )
        )
        api = f"http://{fleet.addresses('api')[0]}:8080"
        asked = {"Authorization": f"Bearer {key['key']}"}
        order = {"name": "compose", "from": SENDER, "body": "The water is rising", "recipients": people}
        answer = await http.post(f"{api}/v1/broadcasts", json=order, headers=asked)
        if answer.is_error:
            raise CampaignError(f"POST /v1/broadcasts: {answer.status_code} {answer.text}")
        where = f"{api}/v1/broadcasts/{answer.json()['id']}"

        async def counts() -> dict[str, int]:
            found: dict[str, int] = (await http.get(where, headers=asked)).json()["counts"]
            return {state: number for state, number in found.items() if number}

        began = time.monotonic()
        await _until(counts, lambda now: now == {"delivered": recipients})
        seen = [f"{recipients} recipients delivered in {time.monotonic() - began:.1f} s, by way of the API"]
        seen.append(await _once(http, fleet, people))
        seen.append(await _called_back(http, fleet, recipients))
        if fleet.of("prometheus"):
            seen += await _scraped(http, fleet, recipients)
        return seen


async def _once(http: httpx.AsyncClient, fleet: Fleet, people: list[str]) -> str:
    lines = (await http.get(f"http://{fleet.addresses('simulator')[0]}:9000/_simulator/accepted")).text
    accepted = [json.loads(line)["to"] for line in lines.splitlines() if line]
    if sorted(accepted) != sorted(people):
        raise CampaignError(f"the simulator accepted {len(accepted)} messages to {len(set(accepted))} people")
    return f"the simulator accepted {len(accepted)} messages: each recipient's, once"


async def _called_back(http: httpx.AsyncClient, fleet: Fleet, recipients: int) -> str:
    """Callbacks came signed to the public address, and to the webhooks' process."""
    text = (await http.get(f"http://{fleet.addresses('webhooks')[0]}:9466/metrics")).text
    lines = [line for line in text.splitlines() if "callbacks_total{" in line]
    recorded = sum(float(line.split()[-1]) for line in lines if 'result="recorded"' in line)
    refused = sum(float(line.split()[-1]) for line in lines if 'result="refused"' in line)
    if recorded < recipients or refused:
        raise CampaignError(f"the webhooks service recorded {recorded:g} callbacks and refused {refused:g}")
    return f"the webhooks service recorded {recorded:g} callbacks and refused none"


async def _scraped(http: httpx.AsyncClient, fleet: Fleet, recipients: int) -> list[str]:
    at = f"http://{fleet.addresses('prometheus')[0]}:9090/api/v1"

    async def targets() -> dict[str, str]:
        found = (await http.get(f"{at}/targets")).json()["data"]["activeTargets"]
        return {f"{one['labels']['job']} {one['labels']['instance']}": one["health"] for one in found}

    async def sent() -> float:
        query = {"query": 'sum(broadcaster_messages_total{outcome="accepted"})'}
        found = (await http.get(f"{at}/query", params=query)).json()["data"]["result"]
        return float(found[0]["value"][1]) if found else 0.0

    up = await _until(targets, lambda now: bool(now) and set(now.values()) == {"up"})
    await _until(sent, lambda now: now == recipients)
    groups = (await http.get(f"{at}/rules")).json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    broken = [rule["name"] for rule in rules if rule.get("lastError")]
    if not rules or broken:
        raise CampaignError(f"Prometheus has {len(rules)} rules; these fail: {broken}")
    return [
        f"Prometheus has all of {len(up)} targets up: {', '.join(sorted(up))}",
        f"Prometheus counts {recipients} accepted messages and has {len(rules)} rules, none of which fails",
    ]


async def _until(look: Callable[[], Awaitable[Any]], fits: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not fits(found := await look()):
        if time.monotonic() > deadline:
            raise CampaignError(f"after {_PATIENCE_SECONDS:g} s still {found}")
        await asyncio.sleep(_POLL_SECONDS)
    return found
