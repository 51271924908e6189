"""A message's id as a SID of Twilio's shape, and back without a look-up."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.domain.message_ids import ID_ALPHABET, ID_LETTERS, id_of, sid_like
from broadcaster.intake.load import new_broadcast_id

BROADCASTS = st.text(ID_ALPHABET, min_size=ID_LETTERS, max_size=ID_LETTERS)
NUMBERS = (st.integers(0, 2**14 - 1), st.integers(0, 2**25 - 1), st.integers(0, 2**9 - 1))


@given(BROADCASTS, *NUMBERS)
def test_every_id_comes_back_from_its_sid(broadcast: str, lane: int, batch: int, index: int) -> None:
    message = f"{broadcast}.{lane}.{batch}.{index}"
    sid = sid_like(message)
    assert re.fullmatch("SM[0-9a-f]{32}", sid)
    assert id_of(sid) == message


@given(st.binary(min_size=16, max_size=16))
def test_a_sid_has_one_id_or_none(raw: bytes) -> None:
    found = id_of("SM" + raw.hex())
    assert found is None or sid_like(found) == "SM" + raw.hex()


def test_of_twilios_sids_one_in_a_thousand_passes_for_ours() -> None:
    chance = random.Random(1)
    passed = sum(id_of(f"SM{chance.getrandbits(128):032x}") is not None for _ in range(20_000))
    assert passed < 40, "20 are to be expected"


def test_a_digit_that_is_wrong_is_found_out() -> None:
    sid = sid_like(f"{new_broadcast_id()}.0.0.0")
    wrong = [sid[:i] + digit + sid[i + 1 :] for i in range(2, 34) for digit in "0123456789abcdef"]
    assert {id_of(one) for one in wrong if one != sid} == {None}


@pytest.mark.parametrize(
    "message",
    [
        "", "x.0.0.0", f"{'0' * 14}.0.0", f"{'0' * 14}.0.0.-1", f"{'0' * 14}.0.0.01", f"{'i' * 14}.0.0.0",
        f"{'0' * 14}.16384.0.0", f"{'0' * 14}.0.33554432.0", f"{'0' * 14}.0.0.512", f"{'0' * 14}.0.0.\u0661",
    ],
)  # fmt: skip
def test_what_has_no_sid_says_so(message: str) -> None:
    with pytest.raises(ValueError, match=r"no message's id|has no SID"):
        sid_like(message)


@pytest.mark.parametrize(
    "sid", ["", "SM", "MM" + "0" * 32, "SM" + "g" * 32, "SM" + "0" * 31, "SM" + "A" * 32]
)
def test_what_is_no_sid_has_no_id(sid: str) -> None:
    assert id_of(sid) is None
