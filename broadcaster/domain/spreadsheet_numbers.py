"""What spreadsheets make of telephone numbers, and back: formulas, fractions, exponents, lost digits."""

from __future__ import annotations

import re
from typing import Final

#: `="+41791234567"`, as some exports write a number so that it stays a text.
_FORMULA: Final = re.compile(r'=\s*"*(.*?)"*\s*', re.DOTALL)
#: A number that went through a floating-point column: 41791234567.0.
_FRACTION: Final = re.compile(r"(\+?[0-9]{7,15})[.,]0{1,6}")
_EXPONENT: Final = re.compile(r"\+?([0-9])(?:[.,]([0-9]{0,20}))?E\+?([0-9]{1,2})", re.IGNORECASE)
_LONGEST: Final = 15


class RoundedError(ValueError):
    """Digits of a number are gone; the text says how many."""


def out_of_formula(text: str) -> str:
    """Return the text of a formula that is nothing else; any other text as it is."""
    formula = _FORMULA.fullmatch(text) if text.startswith("=") else None
    return formula[1] if formula else text


def as_typed(text: str) -> str:
    """Return the number that was typed into a cell, of what its export says. Raises `RoundedError`.

    An exponent is undone only where every digit of the number is there: 4.1791234567E+10.
    """
    if fraction := _FRACTION.fullmatch(text):
        return fraction[1]
    exponent = _EXPONENT.fullmatch(text)
    if exponent is None:
        return text
    digits, whole = exponent[1] + (exponent[2] or ""), int(exponent[3]) + 1
    if len(digits) >= whole and not digits[whole:].strip("0"):
        return digits[:whole]
    lost = f": the last {whole - len(digits)} of its {whole} digits are lost"
    lost = lost if len(digits) < whole <= _LONGEST else ""
    raise RoundedError(f"a spreadsheet has rounded this number{lost}")
