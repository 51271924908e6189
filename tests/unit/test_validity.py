"""A broadcast's end is told to Twilio: what it has not sent by then it gives up."""

from __future__ import annotations

from urllib.parse import parse_qs

import pytest

from broadcaster.domain.broadcast import BroadcastSpec
from broadcaster.domain.content import Content, compile_content
from broadcaster.store.batches import Recipients, pack_batch
from workers.contents import _make

LANE = "+14155550199"


@pytest.mark.parametrize(
    ("left", "own", "told"),
    [
        (None, None, None),
        (None, "900", "900"),
        (100.5, None, "100"),
        (100.5, "60", "60"),
        (100.5, "900", "100"),
        (0.5, None, "1"),
        (-5, None, "1"),
        (90_000, None, "36000"),
    ],
)
def test_validity_is_what_is_left(left: float | None, own: str | None, told: str | None) -> None:
    content = Content(body="hi", options={} if own is None else {"ValidityPeriod": own})
    expires = None if left is None else 1000.0 + left
    spec = BroadcastSpec(name="n", senders=(LANE,), content=content, expires_at=expires)
    batch = _make(
        pack_batch(Recipients(["+14155550100"], None, (), [])),
        spec,
        compile_content(content),
        LANE,
        now=lambda: 1000.0,
    )
    form = parse_qs(batch.form(0, 1).decode())
    assert form.get("ValidityPeriod") == (None if told is None else [told])
    assert form["Body"] == ["hi"]
