"""A batch holds so many recipients that Redis' allocator leaves little of its memory empty."""

from __future__ import annotations

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.domain.record import RECORD_BYTES
from broadcaster.intake.batches import BatchRows, LaneRows
from broadcaster.intake.fitting import Fit, allocated, fitting
from broadcaster.store.batches import pack_batch


@pytest.mark.parametrize(
    ("length", "given_to_it"),
    [(76, 80), (77, 96), (124, 128), (125, 160), (252, 256), (253, 320), (256, 320), (314, 320),
     (16_000, 16_384), (40_954, 40_960), (40_955, 49_152), (57_338, 57_344), (57_339, 65_536),
     (65_530, 65_536), (65_531, 81_920)],
)  # fmt: skip
def test_what_the_allocator_gives_a_string(length: int, given_to_it: int) -> None:
    """Checked with MEMORY USAGE of a Redis 7.0 with jemalloc 5.3, key and value's head taken off."""
    assert allocated(length) == given_to_it


@given(most=st.integers(90, 500), bytes_each=st.floats(4.0, 2_000.0))
def test_a_batch_is_only_a_little_smaller(most: int, bytes_each: float) -> None:
    assert most * 0.8 < fitting(most, bytes_each) <= most


@given(most=st.integers(100, 500), bytes_each=st.floats(4.0, 2_000.0))
def test_little_is_empty(most: int, bytes_each: float) -> None:
    count = fitting(most, bytes_each)
    used = count * (bytes_each + RECORD_BYTES)
    given_to_it = allocated(int(count * bytes_each)) + allocated(count * RECORD_BYTES)
    assert given_to_it <= used * 1.08


def a_list(letters: int, count: int) -> BatchRows:
    chance = random.Random(letters)
    to = [f"+1{chance.randrange(2_000_000_000, 9_999_999_999)}" for _ in range(count)]
    links = ["".join(chance.choices(string.ascii_letters, k=letters)) for _ in range(count)]
    return BatchRows("x", to, None, ("link",), [links], bytes(count), [0] * count, bytes(count))


def sizes(batches: list[BatchRows]) -> tuple[int, int]:
    """Return the bytes of their strings, and what is allocated for them."""
    used = given_to_it = 0
    for rows in batches:
        packed = len(pack_batch(rows.recipients))
        used += packed + len(rows) * RECORD_BYTES
        given_to_it += allocated(packed) + allocated(len(rows) * RECORD_BYTES)
    return used, given_to_it


@pytest.mark.parametrize("letters", [0, 10, 40, 50, 80, 100, 120, 140, 180, 250, 300])
def test_lists_with_random_letters_fit(letters: int) -> None:
    """A list whose batches of 500 would be just too long, or not, as it comes."""
    used, given_to_it = sizes(LaneRows("x", 100.0, Fit()).add(a_list(letters, 20_000)))
    assert given_to_it <= used * 1.06


@pytest.mark.parametrize("letters", [0, 10, 30, 60, 120])
def test_senders_of_other_rates_do_not_mislead(letters: int) -> None:
    """Batches of 16 are packed in up to a half more for each, and say nothing of batches of 500."""
    fit = Fit()
    slow, fast = LaneRows("slow", 0.5, fit), LaneRows("fast", 100.0, fit)
    few, many = slow.add(a_list(letters, 64)), fast.add(a_list(letters, 20_000))
    assert {len(batch) for batch in few} == {16}
    used, given_to_it = sizes(many)
    assert given_to_it <= used * 1.06


def test_it_looks_again_as_the_list_goes_on() -> None:
    """A list that is sorted by a column has longer values at its end than at its beginning."""
    fit = Fit()
    short, long = a_list(40, 500), a_list(120, 500)
    cuts = [fit.of(short, 0, 500), *(fit.of(long, 0, 500) for _ in range(64))]
    assert len(set(cuts[:64])) == 1
    assert cuts[64] == Fit().of(long, 0, 500) != cuts[0]
