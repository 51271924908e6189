"""A broadcast's form out of JSON, with every fault that is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from pydantic import ValidationError

from broadcaster.operations.errors import Fault, Invalid, invalid
from broadcaster.operations.order_bounds import FAULTS_TOLD, too_long
from broadcaster.operations.order_form import OrderForm

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.settings import Settings


def read_form(raw: bytes, settings: Settings, *, late: bool = False) -> OrderForm:
    """Read a form. `late`: its time may have passed, since it is asked for again.

    Raises `Invalid` with every fault, each with its JSON pointer.
    """
    try:
        given = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(Fault(f"not valid JSON: {error}")) from None
    if not isinstance(given, dict):
        raise Invalid(Fault("must be a JSON object"))
    invalid(too_long(given))
    faults: list[Fault] = []
    unread: frozenset[str] = frozenset()
    try:
        form = OrderForm.model_validate(given)
    except ValidationError as error:
        faults = list(_shape_faults(error))
        unread = frozenset(str(found["loc"][0]) for found in error.errors() if found["loc"])
        form = OrderForm.model_validate({name: value for name, value in given.items() if name not in unread})
    invalid([*faults, *form.faults(settings, unread, late=late)])
    return form


#: Where pydantic speaks of its own classes.
_SAID: Final = {"extra_forbidden": "there is no such field", "model_type": "Input should be an object"}


def _shape_faults(error: ValidationError) -> Iterable[Fault]:
    """Return one fault a place: of a field that may be this or that, pydantic tells what each would want."""
    told: dict[str, str] = {}
    for found in error.errors(include_url=False, include_input=False):
        place = [part for part in found["loc"] if not _is_choice(part)]
        pointer = "".join(f"/{_escaped(str(part))}" for part in place)
        text = _SAID.get(found["type"], found["msg"])
        told[pointer] = f"{told[pointer]}; or: {text}" if pointer in told else text
    outer = {pointer[:end] for pointer in told for end in range(len(pointer)) if pointer[end] == "/"}
    shown = [Fault(text, pointer) for pointer, text in told.items() if pointer not in outer]
    return shown[:FAULTS_TOLD]


def _is_choice(part: str | int) -> bool:
    """Whether a part of a place is the name of a type in a union."""
    return isinstance(part, str) and part in _CHOICES


_CHOICES: Final = frozenset(
    ("str", "int", "float", "bool", "list[constrained-str]", "list[str]", "constrained-str")
)


def _escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")
