"""Counts end as Twilio has them, whether all callbacks come, half of them, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest
from final_states import campaign

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.parametrize("callbacks", ["off", "half", "on"])
async def test_final_counts_are_twilios(tmp_path: Path, callbacks: Literal["off", "on", "half"]) -> None:
    ended = await campaign(tmp_path, 400, callbacks, after_seconds=1.0)
    assert ended.ours == ended.truth
    assert {state for state, _ in ended.ours} == {"delivered", "undelivered", "sent"}
    assert {code for _, code in ended.ours} == {0, 30003, 30005, 30006}
