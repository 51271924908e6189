"""Types of settings: a plain value together with the rule that its text must keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from broadcaster.domain import settings_rules as rules

if TYPE_CHECKING:
    from collections.abc import Callable


def text(rule: Callable[[str], str]) -> AfterValidator:
    """Return what applies a rule to a text that is set."""
    return AfterValidator(lambda value: value if value is None else rule(value))


def secret(rule: Callable[[str], str]) -> AfterValidator:
    """Return what applies a rule to a secret's text."""
    return AfterValidator(lambda value: value and SecretStr(rule(value.get_secret_value())))


small = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Url = Annotated[str | None, text(rules.url("https", "http"))]
PublicUrl = Annotated[str | None, text(rules.public_url)]
Label = Annotated[str | None, text(rules.pattern("[a-z][a-z0-9-]{1,30}", "a name of Twilio's, like ie1"))]
Prefix = Annotated[str, text(rules.pattern("[A-Za-z0-9_.-]{1,32}", "at most 32 letters, digits, . _ or -"))]
Region = Annotated[str | None, text(rules.pattern("[A-Z]{2}", "a country's two capital letters, like US"))]
ReplyWords = Annotated[str | None, text(rules.reply_words)]
ReplyText = Annotated[str | None, text(rules.reply_text)]
