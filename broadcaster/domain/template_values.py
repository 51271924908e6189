"""What Twilio takes as the value of a template's variable; a recipient's own value may not be fit, too.

Sources: Twilio's pages of the errors 21656 (line breaks, tabs, more than four spaces in a row) and 21658
(characters). The first is WhatsApp's rule.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_VALUE_CHARACTERS: Final = 1600
_UNFIT: Final = re.compile(r"[\r\n\t]| {5}")
_SPACES: Final = " " * 5


class ValueFault(NamedTuple):
    """Which variable, what is wrong with its value, and the code that Twilio would refuse it with."""

    key: str
    detail: str
    code: int


def faults_in(values: Mapping[str, str], *, whatsapp: bool) -> Iterator[ValueFault]:
    """Yield what is wrong with values, one fault a variable."""
    for key, value in values.items():
        if whatsapp and _UNFIT.search(value):
            what = f"variable {key} has a line break, a tab or five spaces in a row: WhatsApp takes none"
            yield ValueFault(key, what, 21656)
        elif len(value) > MAX_VALUE_CHARACTERS:
            what = f"variable {key} has {len(value):,} characters, Twilio takes {MAX_VALUE_CHARACTERS:,}"
            yield ValueFault(key, what, 21658)


def first_fault(variables: str | None, *, whatsapp: bool) -> ValueFault | None:
    """Return the first fault in a JSON object of values.

    It is asked of each row of millions: only what JSON escapes, as it does line breaks, spaces and great
    length make it look closer.
    """
    if variables is None:
        return None
    if "\\" not in variables and _SPACES not in variables and len(variables) <= MAX_VALUE_CHARACTERS:
        return None
    return next(faults_in(msgspec.json.decode(variables, type=dict[str, str]), whatsapp=whatsapp), None)
