"""Text with `{{ variables }}`: Jinja's syntax, its sandbox, and a short cut for the plain case.

Text that only names variables becomes one `%` operation; everything else is Jinja's. Both read the same
syntax tree, and a property test holds them equal.
"""

from __future__ import annotations

import re
import unicodedata
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError, meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    #: Gives the texts of many rows from their columns; None where one of them has to be looked at by itself.
    RenderColumns = Callable[[Sequence[Sequence[str]]], list[str] | None]

_TAG: Final = re.compile(r"\{[{%].*?(?:[}%]\}|$)", re.DOTALL)
_MISSING: Final = "missing or empty"


class ContentError(ValueError):
    """The content cannot be sent to anybody; the message says where and what to change."""


class RenderError(ValueError):
    """The content cannot be sent to this recipient; `variable` is the column at fault, if it is one."""

    def __init__(self, variable: str | None, reason: str) -> None:
        super().__init__(f"{variable}: {reason}" if variable else reason)
        self.variable = variable
        self.reason = reason


class _AbsentError(UndefinedError):
    """A variable without a value was printed, compared or calculated with."""

    def __init__(self, variable: str | None, message: str | None = None) -> None:
        super().__init__(message)
        self.variable = variable


class _Undefined(StrictUndefined):
    """A missing or blank variable: an error wherever it is used, but false in `or` and `{% if %}`."""

    __slots__ = ()

    def __init__(
        self, hint: str | None = None, obj: Any = missing, name: str | None = None, exc: Any = UndefinedError
    ) -> None:
        if exc is UndefinedError:
            exc = partial(_AbsentError, name if obj is missing else None)
        super().__init__(hint, obj, name, exc)

    def __bool__(self) -> bool:  # type: ignore[override]
        return False


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja without the products that fill memory: `"x" * 10 ** 10` would be worked out while compiling."""

    intercepted_binops = frozenset(("*", "**"))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" or not (isinstance(left, int | float) and isinstance(right, int | float)):
            raise SecurityError("only two numbers can be multiplied")
        return super().call_binop(context, operator, left, right)


def _environment() -> _Environment:
    environment = _Environment(undefined=_Undefined, keep_trailing_newline=True)
    # A column may be called `range` or `dict`; no loop without a list to loop over.
    environment.globals.clear()
    return environment


_ENVIRONMENT: Final = _environment()
_LOADING: Final = (nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)


class Text:
    """Compiled text. `variables` are the names it uses, in order of their first appearance."""

    __slots__ = ("_pieces", "_template", "variables")

    def __init__(self, source: str, label: str) -> None:
        try:
            tree = _ENVIRONMENT.parse(source)
            self._template = _ENVIRONMENT.from_string(source)
        except TemplateSyntaxError as error:
            raise ContentError(_explain(error, source, label)) from None
        except Exception as error:  # noqa: BLE001 -- Python itself may refuse what Jinja made of the text
            raise ContentError(f"{label}: too long or too deeply nested to read ({error})") from None
        for node in tree.find_all(_LOADING):
            raise ContentError(f"{label}, line {node.lineno}: a text cannot include or import another one")
        used = meta.find_undeclared_variables(tree)
        if any(node.name == "self" for node in tree.find_all(nodes.Name)):
            raise ContentError(f"{label}: `self` has a meaning of its own in Jinja; rename that column")
        self.variables = tuple(
            dict.fromkeys(node.name for node in tree.find_all(nodes.Name) if node.name in used)
        )
        self._pieces = _plain_pieces(tree)

    @property
    def is_plain(self) -> bool:
        """Whether the short cut renders it."""
        return self._pieces is not None

    def over_mapping(self) -> Callable[[Mapping[str, str]], str]:
        """Return what renders from variables by name. It raises RenderError."""
        if self._pieces is None:
            return self._by_jinja
        return _substitution(self._pieces, {name: name for name in self.variables}, self._by_jinja)

    def over_rows(self, columns: Sequence[str]) -> Callable[[Sequence[str]], str]:
        """Return what renders from values in the order of `columns`. It raises RenderError."""

        def by_jinja(row: Sequence[str]) -> str:
            return self._by_jinja(dict(zip(columns, row, strict=False)))

        if self._pieces is None or not columns_hold(columns, self.variables):
            return by_jinja
        places = {name: len(columns) - 1 - columns[::-1].index(name) for name in self.variables}
        return _substitution(self._pieces, places, by_jinja)

    def over_columns(self, columns: Sequence[str]) -> RenderColumns | None:
        """Return what renders many rows at once, None where the text is more than names of variables."""
        if not self._pieces or not self.variables or not columns_hold(columns, self.variables):
            return None
        pattern = _pattern(self._pieces)
        last = {name: place for place, name in enumerate(columns)}
        places = [last[name] for _, name in self._pieces if name is not None]
        used = set(places)

        def render(values: Sequence[Sequence[str]]) -> list[str] | None:
            if not all(all(map(str.strip, values[place])) for place in used):
                return None
            return list(map(pattern.__mod__, zip(*[values[place] for place in places], strict=True)))

        return render

    def _by_jinja(self, variables: Mapping[str, str]) -> str:
        given = {}
        for name in self.variables:
            value = variables.get(name)
            if value is not None and str(value).strip():
                given[name] = value
        try:
            text = self._template.render(given)
        except _AbsentError as error:
            raise RenderError(error.variable, _MISSING if error.variable else str(error)) from None
        except SecurityError as error:
            raise RenderError(None, f"the text does what no text may: {error}") from None
        except Exception as error:  # noqa: BLE001 -- the author's expressions may fail in any way
            raise RenderError(None, f"the text cannot be worked out: {error}") from None
        if not text.strip():
            raise RenderError(None, "nothing is left of the text")
        return text


def columns_hold(columns: Sequence[str], names: Sequence[str]) -> bool:
    """Tell whether every one of `names` is a column."""
    return all(name in columns for name in names)


def _pattern(pieces: Sequence[tuple[str, str | None]]) -> str:
    return "".join(literal.replace("%", "%%") + ("" if name is None else "%s") for literal, name in pieces)


def _substitution(
    pieces: Sequence[tuple[str, str | None]], keys: Mapping[str, Any], diagnose: Callable[[Any], str]
) -> Callable[[Any], str]:
    """Return the short cut; whatever is wrong with a row goes to `diagnose`, which knows how to say it."""
    pattern = _pattern(pieces)
    places = [keys[name] for _, name in pieces if name is not None]
    if not places:
        constant = pattern % ()
        return (lambda _: constant) if constant.strip() else diagnose
    take = itemgetter(*places)
    strip = str.strip
    if len(places) == 1:

        def substitute_one(row: Any) -> str:
            try:
                value = take(row)
                return pattern % value if strip(value) else diagnose(row)
            except (KeyError, IndexError, TypeError):
                return diagnose(row)

        return substitute_one

    def substitute(row: Any) -> str:
        try:
            values = take(row)
            return pattern % values if all(map(strip, values)) else diagnose(row)
        except (KeyError, IndexError, TypeError):
            return diagnose(row)

    return substitute


def _plain_pieces(tree: nodes.Template) -> tuple[tuple[str, str | None], ...] | None:
    """Return (literal, variable after it) pairs if the text has nothing but variables, else None."""
    pieces: list[tuple[str, str | None]] = []
    for output in tree.body:
        if not isinstance(output, nodes.Output):
            return None
        for node in output.nodes:
            if isinstance(node, nodes.TemplateData):
                pieces.append((node.data, None))
            elif isinstance(node, nodes.Name) and unicodedata.is_normalized("NFKC", node.name):
                # Jinja lets Python fold other spellings of a name together; leave those to it.
                pieces.append(("", node.name))
            else:
                return None
    return tuple(pieces)


def _explain(error: TemplateSyntaxError, source: str, label: str) -> str:
    reason = (error.message or "syntax error").rstrip(".")
    if "end of print statement" in reason and "got '" in reason:
        reason += " (a variable is one word: a column whose name has spaces must be renamed)"
    return f"{label}, line {error.lineno}, column {_column(source, error.lineno)}: {reason}"


def _column(source: str, line: int) -> int:
    """Return the column, from 1, of the first wrong tag on `line`, else of its first tag."""
    lines = re.split(r"\r\n|\r|\n", source)
    text = lines[line - 1] if line <= len(lines) else ""
    starts = [match.start() for match in _TAG.finditer(text)]
    for match in _TAG.finditer(text):
        if match[0].startswith("{{"):
            try:
                _ENVIRONMENT.from_string(match[0])
            except TemplateSyntaxError:
                return match.start() + 1
    return starts[0] + 1 if starts else 1
