"""Event endpoints: who is told what happens, how deliveries to them went. Answers are the API's objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from broadcaster.client.asking import Asking
from broadcaster.client.broadcasts import key_or_new

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class EventCalls(Asking):
    """What can be done with event endpoints.

    A test and a new secret are asked for once only: after `NotReached` look what became of it.
    """

    def event_endpoints(self) -> Iterator[dict[str, Any]]:
        """Yield every endpoint, the oldest first."""
        yield from self.every("/v1/event-endpoints", dict)

    def event_endpoint(self, endpoint: str) -> dict[str, Any]:
        """Return one endpoint and how far it is. Raises `ApiError` 404."""
        return self.one(dict, "GET", _at(endpoint))

    def create_event_endpoint(
        self, url: str, types: Sequence[str], *, description: str = "", idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """Make an endpoint; return it with its `secret`, which is shown this once."""
        body = {"url": url, "types": list(types), "description": description}
        key = key_or_new(idempotency_key)
        return self.one(dict, "POST", "/v1/event-endpoints", json=body, idempotency_key=key)

    def test_event_endpoint(self, endpoint: str) -> dict[str, Any]:
        """Send an event of type `endpoint.test` now, once; return how that went."""
        return self.one(dict, "POST", f"{_at(endpoint)}/test")

    def rotate_event_secret(self, endpoint: str) -> dict[str, Any]:
        """Give an endpoint a new `secret`; for a day requests are signed by the old one, too."""
        return self.one(dict, "POST", f"{_at(endpoint)}/rotate-secret")

    def enable_event_endpoint(self, endpoint: str) -> dict[str, Any]:
        """Let a disabled endpoint be told again, of what happens from now on."""
        return self.one(dict, "POST", f"{_at(endpoint)}/enable")

    def delete_event_endpoint(self, endpoint: str) -> None:
        """Remove an endpoint with all its deliveries. Raises `ApiError` 404."""
        self.ask("DELETE", _at(endpoint))

    def event_deliveries(self, endpoint: str, *, state: str = "parked") -> Iterator[dict[str, Any]]:
        """Yield deliveries that were given up, the oldest first, or are `waiting`, the soonest first."""
        yield from self.every(f"{_at(endpoint)}/deliveries", dict, state=state)

    def replay_event_deliveries(self, endpoint: str, deliveries: Sequence[str] = ()) -> int:
        """Let parked deliveries go again, all without names; return how many they are."""
        body = {"deliveries": list(deliveries)} if deliveries else {"all": True}
        answer = self.one(dict, "POST", f"{_at(endpoint)}/deliveries/replay", json=body)
        return int(answer["replayed"])


def _at(endpoint: str) -> str:
    return f"/v1/event-endpoints/{quote(endpoint, safe='')}"
