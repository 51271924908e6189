"""Segments against the standard's numbers, and against smsutil as an independent implementation."""

from __future__ import annotations

import pytest
import smsutil  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.domain import segments as module
from broadcaster.domain.segments import Measure, measure, segments

GSM = module._BASIC + module._EXTENSION
WAVE = "\N{WATER WAVE}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", Measure(1, "GSM-7", 0), id="an empty text still costs one"),
        pytest.param("a" * 160, Measure(1, "GSM-7", 160), id="one full part"),
        pytest.param("a" * 161, Measure(2, "GSM-7", 161), id="one septet too many"),
        pytest.param("a" * 306, Measure(2, "GSM-7", 306), id="two full parts"),
        pytest.param("a" * 307, Measure(3, "GSM-7", 307), id="two and a bit"),
        pytest.param("é" * 160, Measure(1, "GSM-7", 160), id="accented letters of the table take one"),
        pytest.param("Ω" * 161, Measure(2, "GSM-7", 161), id="Greek capitals of the table take one"),
        pytest.param("€" * 80, Measure(1, "GSM-7", 160), id="extension characters take two"),
        pytest.param("€" * 81, Measure(2, "GSM-7", 162), id="and so need a second part sooner"),
        pytest.param("€" * 153, Measure(3, "GSM-7", 306), id="none is split: 76 fit in a part"),
        pytest.param("a" * 152 + "{" + "b" * 151, Measure(2, "GSM-7", 305), id="moved over, it fits"),
        pytest.param("a" * 152 + "{" + "b" * 152, Measure(3, "GSM-7", 306), id="only split would it fit"),
        pytest.param("ж" * 70, Measure(1, "UCS-2", 70, "ж", 0), id="one full UCS-2 part"),
        pytest.param("ж" * 71, Measure(2, "UCS-2", 71, "ж", 0), id="one unit too many"),
        pytest.param("ж" * 134, Measure(2, "UCS-2", 134, "ж", 0), id="two full UCS-2 parts"),
        pytest.param(WAVE * 35, Measure(1, "UCS-2", 70, WAVE, 0), id="an emoji takes two units"),
        pytest.param(WAVE * 67, Measure(3, "UCS-2", 134, WAVE, 0), id="pairs stay together: 33 in a part"),
        pytest.param("Hi ’n bye ”", Measure(1, "UCS-2", 11, "’", 3), id="the first culprit is named"),  # noqa: RUF001
        pytest.param("a`b", Measure(1, "UCS-2", 3, "`", 1), id="a backtick is not in the table"),
        pytest.param("a\tb", Measure(1, "UCS-2", 3, "\t", 1), id="neither is a tab"),
        pytest.param("ç", Measure(1, "UCS-2", 1, "ç", 0), id="only the capital cedilla is"),
    ],
)
def test_measure(text: str, expected: Measure) -> None:
    assert measure(text) == expected
    assert segments(text) == expected.count


def test_the_tables_have_their_sizes() -> None:
    assert len(set(module._BASIC)) == len(module._BASIC) == 127
    assert len(set(module._EXTENSION)) == 10


def judge(text: str) -> None:
    split = smsutil.split(text)
    found = measure(text)
    assert found.count == segments(text) == max(1, len(split.parts))
    assert found.encoding == ("GSM-7" if split.encoding == "gsm0338" else "UCS-2")
    assert found.units == split.total_bytes // (1 if split.encoding == "gsm0338" else 2)


@given(st.text(alphabet=GSM, min_size=1, max_size=700))
def test_gsm_text_counts_as_smsutil_counts_it(text: str) -> None:
    judge(text)


@given(st.text(alphabet="a€{", min_size=140, max_size=480))
def test_many_extension_characters_count_as_smsutil_counts_them(text: str) -> None:
    judge(text)


# smsutil takes the escape itself for a character, and an empty text for UCS-2.
@given(
    st.text(
        alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x1b"), min_size=1, max_size=400
    )
)
def test_any_text_counts_as_smsutil_counts_it(text: str) -> None:
    judge(text)


@given(st.text(alphabet="aж" + WAVE, min_size=60, max_size=220))
def test_surrogate_pairs_at_the_seams_count_as_smsutil_counts_them(text: str) -> None:
    judge(text)


@given(st.text(max_size=300), st.integers(0, 300))
def test_a_lone_surrogate_is_a_unit_and_no_crash(text: str, at: int) -> None:
    found = measure(text[:at] + "\ud83c" + text[at:])
    assert found.encoding == "UCS-2"
    assert found.count >= 1


@given(st.text(alphabet=GSM, max_size=400), st.sampled_from(GSM))
def test_a_longer_text_never_costs_less(text: str, more: str) -> None:
    assert segments(text) <= segments(text + more) <= segments(text) + 1
