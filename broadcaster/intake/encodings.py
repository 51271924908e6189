"""Which encoding a list's text is in, and its bytes as UTF-8, block by block.

A list says so by a byte order mark, by UTF-16's zero bytes, or by the first byte in it that is not ASCII,
wherever that comes: where it is UTF-8, all must be; else all is Windows-1252, as spreadsheets save CSV in
western Europe and the Americas (Latin-1's letters are the same bytes in it). What contradicts that later on
refuses the list with line and column, for half of it would be read wrong. A guess is told (`Guess`).
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broadcaster.intake.faults import UnreadableListError

if TYPE_CHECKING:
    from codecs import IncrementalDecoder

UTF8: Final = "utf-8"
WINDOWS: Final = "windows-1252"
#: A line longer than this is no row of a list, and is not collected in memory.
LONGEST_LINE: Final = 1024 * 1024
_MARKS: Final = ((b"\xef\xbb\xbf", UTF8), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_MARK: Final = b"\xef\xbb\xbf"
_CONTINUATION: Final = bytes(range(0x80, 0xC0))
_NOT_ASCII: Final = re.compile(rb"[\x80-\xff]+")
_LONGEST_CHARACTER: Final = 4
_HIGH: Final = bytes(range(0x80, 0x100))
#: What hardly is two or three characters of Windows-1252 (Ã, Â, Å, Ä before a sign), but one of UTF-8 often.
_LIKE_UTF8: Final = re.compile(
    rb"[\xc2-\xc5][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}|(?:[\xc6-\xdf][\x80-\xbf]){2}"
)
#: Each byte as its two highest bits, by which UTF-8 tells a character's beginning (3) and its rest (2).
_KINDS: Final = bytes(byte >> 6 for byte in range(256))
_LEAD_AND_CONTINUATION: Final = b"\x03\x02"
#: Python calls these text, but they are none that somebody writes lists in.
_NO_TEXT: Final = frozenset(
    ("idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined", "utf-7")
)
_BY_HAND: Final = "Name the encoding yourself, such as windows-1252, with --encoding."


class EncodingError(ValueError):
    """A name that is no encoding's."""


@dataclass(frozen=True, slots=True)
class Guess:
    """What a list is read as, being no UTF-8 at `line` and `column` (from 1), where it now reads `character`.

    No more of the line is told: this is kept longer than the people on the list are.
    """

    encoding: str
    line: int
    column: int
    character: str

    def __str__(self) -> str:
        return (
            f"read as {self.encoding}, since line {self.line:,}, column {self.column:,} is not UTF-8: "
            f"it reads {self.character!r} there. If that is wrong, name its encoding"
        )


def encoding_named(name: str) -> str:
    """Return an encoding as Python calls it. Raises `EncodingError`."""
    try:
        info = codecs.lookup(name.strip())
    except (LookupError, ValueError):
        info = None
    text = info is not None and info.incrementaldecoder and getattr(info, "_is_text_encoding", True)
    if info is None or not text or info.name in _NO_TEXT:
        raise EncodingError(
            f"{name[:40]!r} is no encoding that is known here: try utf-8, windows-1252, utf-16 or mac-roman"
        )
    return WINDOWS if info.name == "cp1252" else info.name


class Recoder:
    """Takes a list's bytes, gives them as UTF-8. `named` is what somebody said; None finds it out.

    `encoding` is None as long as all was ASCII. `bounded`: lines longer than `LONGEST_LINE` are refused.
    """

    def __init__(self, name: str, named: str | None = None) -> None:
        self.encoding = named
        self.guess: Guess | None = None
        self.bounded = False
        self._name = name
        self._named = named is not None
        self._held = b""  # bytes that the next ones may belong to
        self._decoder = _decoder(named) if named else None
        self._lines = 0
        self._column = 0
        self._after_return = False
        self._begun = False

    def begin(self, head: bytes) -> bytes:
        """Look at the list's first bytes, all there are of a short one; return them without their mark."""
        if self._named:
            return head
        for mark, encoding in _MARKS:
            if head.startswith(mark):
                self._choose(encoding)
                return head[len(mark) :]
        if (wide := _wide(head)) is not None:
            self._choose(wide)
        return head

    def feed(self, block: bytes, *, last: bool = False) -> bytes:
        """Return what of a block is whole characters, in UTF-8. Raises `UnreadableListError`."""
        if self._decoder is not None:
            return self._told(self._decoder, block, last=last)
        if block.isascii() and not self._held:
            return self._advanced(block)
        before, rest = self._decide(self._held + block, last=last)
        return self._advanced(before) + (self.feed(rest, last=last) if rest else b"")

    def _decide(self, block: bytes, *, last: bool) -> tuple[bytes, bytes]:
        """Choose by the first byte that isn't ASCII; return what is before and what from there on."""
        run = _NOT_ASCII.search(block)
        if run is None:
            self._held = b""
            return block, b""
        at = run.start()
        if not last and len(block) - at < _LONGEST_CHARACTER:
            self._held = block[at:]
            return block[:at], b""
        self._held = b""
        if _begins_with_utf8(block[at : at + _LONGEST_CHARACTER]):
            self._choose(UTF8)
        else:
            self._choose(WINDOWS)
            self._note_guess(block, at)
        return block[:at], block[at:]

    def _choose(self, encoding: str) -> None:
        self.encoding = encoding
        self._decoder = _decoder(encoding)

    def _note_guess(self, block: bytes, at: int) -> None:
        line, column = self._place(block[:at])
        self.guess = Guess("Windows-1252", line, column, block[at : at + 1].decode(WINDOWS, "replace"))

    def _told(self, decoder: IncrementalDecoder, block: bytes, *, last: bool) -> bytes:
        """Return a block of the encoding that is known by now."""
        if self.encoding == UTF8 and block.isascii() and not decoder.getstate()[0]:
            return self._advanced(block)
        odd = None
        if self.guess is not None:
            block = self._held + block
            odd = _like_utf8(block)
            self._held = b"" if last else _unended(block)
            block = block[: len(block) - len(self._held) if odd is None else odd]
        try:
            text = decoder.decode(block, last)
        except UnicodeDecodeError as error:
            raise self._broken(error) from None
        if odd is not None:
            raise self._contradicted(text)
        return self._advanced(text.encode("utf-8", "replace"))

    def _contradicted(self, before: str) -> UnreadableListError:
        """Return the error for UTF-8 after `before`, in a list that was guessed to be something else."""
        line, column = self._place(before.encode())
        first = self.guess
        where = f"line {first.line:,}, column {first.column:,}" if first else "an earlier line"
        return UnreadableListError(
            f"{self._name}, line {line:,}, column {column:,}: this is UTF-8, but {where} is not. {_BY_HAND}"
        )

    def _broken(self, error: UnicodeDecodeError) -> UnreadableListError:
        # what the decoder kept of the block before is in `object` too, and is shorter than a character
        known = self.encoding or UTF8
        read_as = known if error.encoding == "charmap" else error.encoding
        text = error.object[: error.start].decode(read_as, "replace")
        line, column = self._place(text.encode("utf-8", "replace"))
        if error.start >= len(error.object):
            what = "it ends in the middle of a character"
        else:
            what = f"byte 0x{error.object[error.start]:02x} is not {self.encoding} text"
        how = (
            "Save the list as UTF-8 (Excel: 'CSV UTF-8'), or name another encoding with --encoding."
            if self._named or self.encoding != UTF8
            else f"What is before it is UTF-8. {_BY_HAND}"
        )
        return UnreadableListError(f"{self._name}, line {line:,}, column {column:,}: {what}. {how}")

    def _place(self, before: bytes) -> tuple[int, int]:
        """Return line and column, from 1, of what follows `before`, which is UTF-8 not yet counted."""
        lines = self._lines + _ends(before) - (self._after_return and before[:1] == b"\n")
        at = _last_end(before)
        return lines + 1, (self._column if at < 0 else 0) + _characters(before[at + 1 :]) + 1

    def _advanced(self, block: bytes) -> bytes:
        """Count the lines of a block of UTF-8, and return it without the mark at its very beginning."""
        if not self._begun and block:
            self._begun = True
            block = block.removeprefix(_MARK)
        if block:
            line, column = self._place(block)
            self._lines, self._column = line - 1, column - 1
            self._after_return = block.endswith(b"\r")
            if self.bounded and self._column > LONGEST_LINE:
                raise UnreadableListError(
                    f"{self._name}, line {line:,}: longer than {LONGEST_LINE:,} characters. "
                    "This is no list of recipients, or its line ends are missing."
                )
        return block


def _decoder(encoding: str) -> IncrementalDecoder:
    return codecs.getincrementaldecoder(encoding)("strict")


def _begins_with_utf8(some: bytes) -> bool:
    """Whether the first character of some bytes, of which it is not ASCII, is one of UTF-8."""
    for length in range(2, len(some) + 1):
        try:
            return len(some[:length].decode()) == 1
        except UnicodeDecodeError:
            continue
    return False


def _like_utf8(block: bytes) -> int | None:
    """Return where bytes of Windows-1252 are most likely none; None for nowhere."""
    if _LEAD_AND_CONTINUATION not in block.translate(_KINDS):  # forty times as fast as the expression
        return None
    odd = _LIKE_UTF8.search(block)
    return odd.start() if odd else None


def _unended(block: bytes) -> bytes:
    """Return the end of a block that may be the beginning of what is like UTF-8."""
    end = block[1 - _LONGEST_CHARACTER :]
    return end[len(end.rstrip(_HIGH)) :]


def _ends(block: bytes) -> int:
    r"""Count line ends: \n, \r or \r\n."""
    ends = block.count(b"\n")
    return ends + block.count(b"\r") - block.count(b"\r\n") if b"\r" in block else ends


def _last_end(block: bytes) -> int:
    return max(block.rfind(b"\n"), block.rfind(b"\r"))


def _characters(piece: bytes) -> int:
    """Count the characters of UTF-8 that begin in it."""
    return len(piece) if piece.isascii() else len(piece.translate(None, _CONTINUATION))


def _wide(head: bytes) -> str | None:
    """Tell UTF-16 without a mark by its zero bytes: every second one, where the text is mostly ASCII."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    fewest = max(1, len(head) // 8)
    if odd > fewest and even * 20 <= odd:
        return "utf-16-le"
    if even > fewest and odd * 20 <= even:
        return "utf-16-be"
    return None
