"""Batches at hand are bounded by what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from workers import kept
from workers.kept import Kept

if TYPE_CHECKING:
    import pytest

    from workers.contents import Batch


class Holding:
    """What `Kept` asks a batch."""

    def __init__(self, texts: int) -> None:
        self.texts = texts


def batch(texts: int) -> Batch:
    return cast("Batch", Holding(texts))


def test_the_one_unused_for_longest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "TEXTS_KEPT", 3 * (100 + 16))
    here = Kept()
    for name in "abc":
        here.put((name, "0.0"), batch(100))
    assert here.get(("a", "0.0")) is not None
    here.put(("d", "0.0"), batch(100))
    assert [name for name in "abcd" if here.get((name, "0.0")) is None] == ["b"]


def test_many_small_ones_take_the_place_of_few_large_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "TEXTS_KEPT", 5000)
    here = Kept()
    for i in range(1000):
        here.put(("a", f"0.{i}"), batch(30))
    small = len(here)
    for i in range(1000):
        here.put(("b", f"0.{i}"), batch(500))
    assert (small, len(here)) == (5000 // 46, 5000 // 516)


def test_what_was_dropped_or_replaced_takes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "TEXTS_KEPT", 2 * (100 + 16))
    here = Kept()
    for _ in range(5):
        here.put(("a", "0.0"), batch(100))
    here.put(("b", "0.0"), batch(100))
    here.drop(("b", "0.0"))
    here.drop(("b", "0.0"))
    here.put(("c", "0.0"), batch(100))
    assert [name for name in "abc" if here.get((name, "0.0")) is None] == ["b"]


def test_one_larger_than_all_that_is_kept_is_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds a slice of it asks for it again and again."""
    monkeypatch.setattr(kept, "TEXTS_KEPT", 10)
    here = Kept()
    here.put(("a", "0.0"), batch(500))
    assert here.get(("a", "0.0")) is not None
