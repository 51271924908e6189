"""What the benches say of a pace."""

from __future__ import annotations

from pacing import fullest, room, share


def test_the_fullest_window_is_found_wherever_it_begins() -> None:
    assert fullest([0.0, 0.9, 1.0, 1.1, 1.8, 1.9, 3.0]) == 5
    assert fullest([0.0, 1.0, 2.0]) == 1, "its end is not in it"
    assert fullest([]) == 0


def test_a_share_counts_what_came_within_the_stretch() -> None:
    assert share([0.5, 1.0, 1.5, 2.0, 2.5], 2.0, 1.0, 3.0) == 1.0
    assert room(10.0) == 12.0
