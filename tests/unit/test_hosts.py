"""Host names follow Twilio's own client."""

from __future__ import annotations

import pytest
from twilio.rest import Client  # type: ignore[import-untyped]

from broadcaster.twilio.hosts import base_url


@pytest.mark.parametrize("product", ["api", "messaging"])
@pytest.mark.parametrize(
    ("region", "edge"), [(None, None), ("ie1", None), (None, "sydney"), ("au1", "sydney"), ("us1", "ashburn")]
)
def test_hosts_are_those_of_twilios_client(product: str, region: str | None, edge: str | None) -> None:
    theirs = Client("AC0", "x", region=region, edge=edge).get_hostname(f"https://{product}.twilio.com")
    assert base_url(product, region=region, edge=edge) == theirs


def test_an_override_serves_every_product() -> None:
    for product in ("api", "messaging"):
        assert base_url(product, override="http://127.0.0.1:9/", region="ie1") == "http://127.0.0.1:9"


@pytest.mark.parametrize("bad", ["evil.example/", "IE1", "ie1@x", "-a"])
def test_what_is_no_label_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="no Twilio region or edge"):
        base_url(region=bad)
