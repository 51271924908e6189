"""A list may be packed and in any usual encoding: what is read is what was written, or it is refused."""

from __future__ import annotations

import codecs
import functools
import gzip
import io
import itertools
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broadcaster.intake.encodings import EncodingError, Recoder, encoding_named
from broadcaster.intake.faults import EmptyListError, TooLongListError, UnreadableListError
from broadcaster.intake.gunzip import Gunzip
from broadcaster.intake.reader import ListOptions, read_list
from broadcaster.intake.sources import ListSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broadcaster.intake.table import ListReader

#: Without the second in which it was made: every process of a parallel run is to collect tests of one name.
zipped = functools.partial(gzip.compress, mtime=0)
HEAD = "to,name\n"
ANN = "+14155550100,Ann\n"
FILLED = 400
FILLER = f"+14155550100,{'Ann' * 100}\n" * FILLED  # more than is looked at in advance


class Trickle(io.RawIOBase):
    """A pipe that gives a few bytes at a time."""

    def __init__(self, raw: bytes, step: int) -> None:
        super().__init__()
        self._raw, self._step = io.BytesIO(raw), step

    def read(self, size: int = -1) -> bytes:
        return self._raw.read(min(self._step, size))


def opened(
    raw: bytes, step: int = 1 << 20, *, encoding: str | None = None, most: int | None = None
) -> ListReader:
    source = ListSource(Trickle(raw, step), "list", encoding=encoding, most=most)  # type: ignore[arg-type]
    return read_list(source, ListOptions())


def names(reader: ListReader) -> list[str]:
    return [name for chunk in reader for name in chunk.values[chunk.columns.index("name")]]


TEXT = HEAD + "+14155550100,Müller\n+14155550101,Łukasz\n+14155550102,李明\n+14155550103,😀\n"
WESTERN = HEAD + "+14155550100,Müller\n+14155550101,“José” Ø€\n"


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (TEXT.encode(), "utf-8"),
        (codecs.BOM_UTF8 + TEXT.encode(), "utf-8"),
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"), "utf-16-le"),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), "utf-16-be"),
        (TEXT.encode("utf-16-le"), "utf-16-le"),
        (TEXT.encode("utf-16-be"), "utf-16-be"),
        (WESTERN.encode("windows-1252"), "windows-1252"),
        ((HEAD + ANN).encode(), "utf-8"),
        ((HEAD + "+14155550100,Jos\xe9").encode("latin-1"), "windows-1252"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, zipped])
@pytest.mark.parametrize("step", [1, 3, 1 << 20])
def test_encodings_are_found_out(raw: bytes, found: str, pack: Callable[[bytes], bytes], step: int) -> None:
    packed = pack(raw)
    reader = opened(packed, step)
    expected = [line.split(",")[1] for line in raw.decode(found).lstrip("\ufeff").splitlines()[1:]]
    assert names(reader) == expected
    assert reader.encoding == found
    assert bool(reader.notes) == (found == "windows-1252")
    plain = opened(packed, 1 << 20)
    names(plain)
    assert reader.digest() == plain.digest(), "of the bytes as they came, however"


@settings(deadline=None, max_examples=30)
@given(
    told=st.lists(
        st.text(st.characters(codec="windows-1252", exclude_characters='",\r\n\ufeff\0'), max_size=12)
    ),
    filled=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-16-le", "utf-16-be", "windows-1252"]),
    step=st.sampled_from([999, 1 << 20]),
)
def test_what_is_read_is_what_was_written_or_nothing(
    told: list[str], encoding: str, step: int, *, filled: bool
) -> None:
    text = HEAD + (FILLER if filled else "") + "".join(f"+14155550100,{name}x\n" for name in told)
    raw = text.encode(encoding)
    expected = ["Ann" * 100] * (FILLED if filled else 0) + [f"{name}x" for name in told]
    try:
        read = names(opened(raw, step))
    except UnreadableListError:
        assert encoding == "windows-1252"  # in which some texts look like UTF-8: said, not guessed
    else:
        assert read == expected
    assert names(opened(raw, step, encoding=encoding)) == expected


_PIECES = ["a", "\n", "\r", "\r\n", "1,", "ö", "€", "😀", "李"]
_BYTES = [*(piece.encode() for piece in _PIECES), b"\xf6", b"\xc3", b"\x80", b"\x81"]


@settings(max_examples=100)
@given(
    raw=st.lists(st.sampled_from(_BYTES), max_size=14).map(b"".join),
    steps=st.lists(st.integers(1, 9), min_size=1),
)
def test_how_the_bytes_come_changes_nothing(raw: bytes, steps: list[int]) -> None:
    def read(lengths: Iterator[int]) -> tuple[str, object]:
        recoder, text, rest = Recoder("list"), b"", raw
        try:
            while rest:
                length = next(lengths)
                text += recoder.feed(rest[:length])
                rest = rest[length:]
            return (text + recoder.feed(b"", last=True)).decode(), recoder.guess
        except UnreadableListError as error:
            return str(error), None

    assert read(itertools.repeat(len(raw))) == read(itertools.repeat(1)) == read(itertools.cycle(steps))


def test_a_guess_is_told_with_its_place_and_nobodys_name() -> None:
    reader = opened((HEAD + FILLER + "+14155550101,Ann-J\xf6rg\n").encode("windows-1252"), 1000)
    assert names(reader)[-1] == "Ann-Jörg"
    (note,) = reader.notes
    assert note == (
        "list is read as Windows-1252, since line 402, column 19 is not UTF-8: it reads 'ö' there. "
        "If that is wrong, name its encoding"
    )


FAR = (HEAD + FILLER).encode()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (codecs.BOM_UTF8 + b"to,name\n1,J\xf6rg\n", "line 2, column 4: byte 0xf6 is not utf-8 text"),
        (
            FAR + b"1,J\xc3\xb6rg\r\n2,J\xf6rg\n",
            "line 403, column 4: byte 0xf6 is not utf-8 text. What is before",
        ),
        (
            FAR + b"1,J\xf6rg\r2,J\xc3\xb6rg\n",
            "line 403, column 4: this is UTF-8, but line 402, column 4 is not",
        ),
        (FAR + b"1,J\xc3\xb6rg\n2,J\xc3", "line 403, column 4: "),
        (b"to,name\n1,\x81\xe9\n", "line 2, column 3: byte 0x81 is not windows-1252 text"),
        (codecs.BOM_UTF16_LE + (HEAD + ANN).encode("utf-16-le") + b"x", "line 3, column 1: "),
        (codecs.BOM_UTF16_LE + HEAD.encode("utf-16-le") + b"\x00\xd8\x2c\x00", "line 2, column 1: "),
        (b"PK\x03\x04rest", "Excel workbook; save the sheet as 'CSV UTF-8'"),
        (zipped(b"PK\x03\x04rest"), "Excel workbook"),
        (zipped(zipped(b"to\n")), "gzip twice"),
        (b"BZh91AY", "bzip2"),
        (b"to\0\n", "not a text file"),
        (zipped(FAR)[:-20], "ends in the middle of its gzip"),
        (zipped(FAR)[:-8], "ends in the middle of its gzip"),
        (zipped(FAR)[:-8] + b"\1" * 8, "damaged gzip"),
        (zipped(FAR)[:10] + b"\xff" * 500, "damaged gzip"),
        (zipped(FAR) + b"rest", "something that is no gzip follows"),
        (b"\x1f\x8b", "ends in the middle of its gzip"),
    ],
)
@pytest.mark.parametrize("step", [101, 1 << 20])
def test_what_is_not_one_text_is_refused_with_its_place(raw: bytes, words: str, step: int) -> None:
    with pytest.raises(UnreadableListError) as told:
        list(opened(raw, step))
    assert words in str(told.value)


@pytest.mark.parametrize(
    "raw",
    [b"", b"\xef\xbb\xbf \n", b"\xff\xfe", zipped(b""), zipped(b"\n\n")],
)
def test_nothing_in_it_is_said(raw: bytes) -> None:
    with pytest.raises(EmptyListError):
        opened(raw)


def test_gzip_of_several_members_and_with_padding_is_whole() -> None:
    raw = zipped(HEAD.encode()) + zipped(ANN.encode()) * 3 + b"\0" * 600
    assert names(opened(raw, 1)) == ["Ann"] * 3


@pytest.mark.parametrize(
    ("named", "text"),
    [
        ("latin1", "Jörg"),
        ("cp437", "Jörg"),
        ("mac_roman", "Jörg"),
        ("utf-16", "Jörg"),
        ("CP1251", "Иван"),
        ("shift-jis", "太郎"),
    ],
)
def test_an_encoding_may_be_named(named: str, text: str) -> None:
    reader = opened((HEAD + f"+14155550100,{text}\n").encode(named), 3, encoding=encoding_named(named))
    assert names(reader) == [text]
    assert reader.notes == ()


@pytest.mark.parametrize(
    "named", ["", "klingon", "base64", "rot13", "unicode_escape", "idna", "utf-7", "x" * 1000, "\0"]
)
def test_what_is_no_encoding_is_refused(named: str) -> None:
    with pytest.raises(EncodingError, match="is no encoding"):
        encoding_named(named)


def test_a_named_encoding_is_not_second_guessed() -> None:
    with pytest.raises(UnreadableListError, match="line 2, column 4: byte 0xf6"):
        list(opened(b"to,name\n1,J\xf6rg\n", encoding="utf-8"))
    assert names(opened(b"to,name\n1,J\xc3\xb6rg\n", encoding="windows-1252")) == ["JÃ¶rg"]


def bomb(piece: bytes, megabytes: int) -> bytes:
    packing = zlib.compressobj(9, wbits=31)
    block = piece * (1_000_000 // len(piece))
    parts = [
        packing.compress(HEAD.encode()),
        *(packing.compress(block) for _ in range(megabytes)),
        packing.flush(),
    ]
    return b"".join(parts)


def test_a_bomb_does_not_fill_the_memory() -> None:
    line, lines = bomb(b"x", 20), bomb(b"\n", 20)
    unpacking, bounded = (Gunzip(io.BytesIO(lines).read, "list", most) for most in (None, 1 << 30))
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableListError, match="longer than 1,048,576 characters"):
            list(opened(line))
        assert sum(map(len, iter(lambda: unpacking.read(1 << 16), b""))) == 20_000_000 + len(HEAD)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    with pytest.raises(TooLongListError, match="more than 100 times its size"):
        list(iter(lambda: bounded.read(1 << 16), b""))


def test_what_gzip_unpacks_to_is_bounded() -> None:
    raw = zipped(FAR)
    assert len(names(opened(raw, most=len(FAR)))) == FILLED
    with pytest.raises(TooLongListError, match="bytes when it is unpacked"):
        list(opened(raw, most=len(FAR) - 1))


def test_json_on_one_long_line_is_read() -> None:
    items = ", ".join('{"to": "+14155550100", "name": "J\xf6rg"}' for _ in range(4_000))
    reader: Any = opened(f"[{items}]".encode("windows-1252"))
    assert names(reader) == ["Jörg"] * 4_000
