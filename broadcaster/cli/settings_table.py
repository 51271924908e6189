"""The settings page: every variable, its value (secrets hidden), where that came from, what it is for."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from broadcaster.settings import Settings, is_secret, variable_of

if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN: Final = "•••"


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One line. `value` and `default` are empty where nothing is set; `origin` is `Settings.origin`."""

    variable: str
    value: str
    default: str
    origin: str
    purpose: str


def describe(settings: Settings | None = None) -> list[SettingRow]:
    """Return a row for each setting; without `settings` the values are left empty (the manual's page)."""
    purposes = _purposes()
    return [
        SettingRow(
            variable=variable_of(name) + ("[_FILE]" if is_secret(name) else ""),
            value="" if settings is None else _shown(getattr(settings, name)),
            default=_shown(field.default),
            origin="" if settings is None else settings.origin(name),
            purpose=purposes.get(name, "").removesuffix("."),
        )
        for name, field in Settings.model_fields.items()
    ]


def _purposes() -> dict[str, str]:
    """Return the text below each setting in its source. Pydantic could, at 50 ms of every process's start."""
    found: dict[str, str] = {}
    for owner in Settings.__mro__:
        if issubclass(owner, BaseSettings) and owner is not BaseSettings:
            found |= _texts_in(owner)
    return found


def _texts_in(owner: type) -> dict[str, str]:
    (class_,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
    found: dict[str, str] = {}
    before: ast.stmt | None = None
    for statement in class_.body if isinstance(class_, ast.ClassDef) else ():
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name):
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    found[before.target.id] = inspect.cleandoc(text)
        before = statement
    return found


def markdown(rows: Iterable[SettingRow]) -> str:
    """Render the manual's table: variable, default, purpose."""
    lines = ["| variable | default | what it is |", "|---|---|---|"]
    for row in rows:
        default = f"`{row.default}`" if row.default else ""
        lines.append(f"| `{row.variable}` | {default} | {row.purpose.replace('|', '&#124;')} |")
    return "\n".join(lines) + "\n"


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        return _without_password(text) if re.match(r"[a-z]+://", text) else HIDDEN
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return _without_password(text) if "://" in text else text


def _without_password(url: str) -> str:
    """Keep scheme and host of a URL that may hold a password before the host or in its query."""
    parts = urlsplit(url)
    user = f"{HIDDEN}@" if "@" in parts.netloc else ""
    query = f"?{HIDDEN}" if parts.query else ""
    return f"{parts.scheme}://{user}{parts.netloc.rpartition('@')[2]}{parts.path}{query}"
