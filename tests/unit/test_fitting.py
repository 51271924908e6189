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
from broadcaster.store.batches import Recipients, pack_batch


@pytest.mark.parametrize(
    ("length", "given_to_it"),
    [(76, 80), (77, 96), (124, 128), (125, 160), (252, 256), (253, 320), (256, 320), (314, 320),
     (16_000, 16_384), (40_954, 40_960), (40_955, 49_152), (57_338, 57_344), (57_339, 65_536),
     (65_530, 65_536), (65_531, 81_920)],
)  # fmt: skip
def test_what_the_allocator_gives_a_string(length: int, given_to_it: int) -> None:
    """Checked with MEMORY USAGE of a Redis 7.0 with jemalloc 5.3, key and value's head taken off."""
    assert allocated(length) == given_to_it


@given(most=st.integers(16, 500), bytes_each=st.floats(4.0, 2_000.0))
def test_a_batch_is_a_little_smaller_if_that_takes_less(most: int, bytes_each: float) -> None:
    count = fitting(most, bytes_each)

    def each(n: int) -> float:
        return (allocated(int(n * bytes_each * 1.01)) + allocated(n * RECORD_BYTES)) / n

    assert most * 0.8 < count <= most
    assert each(count) <= each(most)


@given(most=st.integers(100, 500), bytes_each=st.floats(4.0, 2_000.0))
def test_little_is_empty(most: int, bytes_each: float) -> None:
    count = fitting(most, bytes_each)
    used = count * (bytes_each + RECORD_BYTES)
    given_to_it = allocated(int(count * bytes_each)) + allocated(count * RECORD_BYTES)
    assert given_to_it <= used * 1.12


@pytest.mark.parametrize("letters", [0, 10, 40, 50, 80, 100, 120, 140, 180, 250, 300])
def test_lists_with_random_letters_fit(letters: int) -> None:
    """A list whose batches of 500 would be just too long, or not, as it comes."""
    chance = random.Random(letters)
    count = 20_000
    to = [f"+1{chance.randrange(2_000_000_000, 9_999_999_999)}" for _ in range(count)]
    links = ["".join(chance.choices(string.ascii_letters, k=letters)) for _ in range(count)]
    lane, full = LaneRows("x", 100.0, Fit()), []
    for first in range(0, count, 1_000):
        part = slice(first, first + 1_000)
        size = len(to[part])
        full += lane.add(
            BatchRows("x", to[part], None, ("link",), [links[part]], bytes(size), [0] * size, bytes(size))
        )
    used = given_to_it = 0
    for rows in full:
        packed = len(pack_batch(Recipients(rows.to, rows.references, rows.columns, rows.values)))
        used += packed + len(rows) * RECORD_BYTES
        given_to_it += allocated(packed) + allocated(len(rows) * RECORD_BYTES)
    assert given_to_it <= used * 1.06


def test_it_looks_again_as_the_list_goes_on() -> None:
    """A list that is sorted by a column has longer values at its end than at its beginning."""
    fit = Fit()

    def rows(letters: int) -> BatchRows:
        chance = random.Random(letters)
        links = ["".join(chance.choices(string.ascii_letters, k=letters)) for _ in range(500)]
        to = [f"+1{chance.randrange(2_000_000_000, 9_999_999_999)}" for _ in range(500)]
        return BatchRows("x", to, None, ("link",), [links], bytes(500), [0] * 500, bytes(500))

    short, long = rows(40), rows(120)
    sizes = [fit.of(short, 0, 500), *(fit.of(long, 0, 500) for _ in range(64))]
    assert len(set(sizes[:64])) == 1
    assert sizes[64] == Fit().of(long, 0, 500) != sizes[0]
