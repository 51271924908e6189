"""What a broadcast says, as it is asked for in JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from broadcaster.domain.content import Content, SmsFallback, Template
from broadcaster.domain.create_message import options_of
from broadcaster.domain.location import location

if TYPE_CHECKING:
    from collections.abc import Mapping

_STRICT = ConfigDict(extra="forbid", strict=True, populate_by_name=False)
Short = Annotated[str, Field(min_length=1, max_length=500)]
Value = str | int | float
#: A parameter of Create Message; one that may be repeated has several.
Further = Value | bool | Annotated[list[str], Field(max_length=100)]
Variables = Annotated[dict[str, Value], Field(max_length=100)]


class FallbackForm(BaseModel):
    """A template in place of free text, for whom WhatsApp's 24-hour window is closed."""

    model_config = _STRICT

    content_sid: Short
    content_variables: Variables = Field(default_factory=dict)

    @property
    def template(self) -> Template:
        """The template."""
        return Template(self.content_sid, texts(self.content_variables))


class SmsFallbackForm(BaseModel):
    """An SMS for whom WhatsApp can't reach; without a body it says the same."""

    model_config = _STRICT

    from_: Annotated[Short, Field(alias="from")]
    body: str | None = None

    @property
    def sms(self) -> SmsFallback:
        """The SMS."""
        return SmsFallback(self.from_, self.body)


class LocationForm(BaseModel):
    """A place, in degrees; the body is its name."""

    model_config = _STRICT

    latitude: float
    longitude: float
    label: str = ""

    @property
    def action(self) -> str:
        """What Create Message takes. Raises LocationError."""
        return location(self.latitude, self.longitude, self.label).action


class ContentForm(BaseModel):
    """The fields of an order that say what is sent."""

    model_config = _STRICT

    body: Annotated[
        str | None, Field(description="The text; `{{ column }}` is replaced by each row's value.")
    ] = None
    content_sid: Annotated[str | None, Field(description="A Content template, HX…, in place of a body.")] = (
        None
    )
    content_sids: Annotated[
        Annotated[dict[Short, Short], Field(max_length=100)] | None,
        Field(description="A template for each language, by `language_column`; `content_sid` is for others."),
    ] = None
    language_column: Annotated[
        Short | None, Field(description="The column that says each recipient's language: de, pt-BR.")
    ] = None
    content_variables: Annotated[
        Variables | None, Field(description="The template's variables; they may hold `{{ column }}`.")
    ] = None
    media_urls: Annotated[list[str], Field(max_length=10)] = Field(default_factory=list)
    location: Annotated[
        LocationForm | None, Field(description="A place to send, on WhatsApp; `body` is its name.")
    ] = None
    outside_window: Annotated[
        Literal["refuse", "send"],
        Field(
            description="What free text does to somebody who has not written to a WhatsApp sender for a day: "
            "refuse the row, or leave it to Twilio. A `fallback` goes before both."
        ),
    ] = "refuse"
    fallback: Annotated[
        FallbackForm | None, Field(description="The template that goes where free text may not.")
    ] = None
    sms_fallback: Annotated[
        SmsFallbackForm | None, Field(description="An SMS, once, for whom WhatsApp can't reach.")
    ] = None
    options: Annotated[
        dict[str, Further],
        Field(
            max_length=100,
            description="Further parameters of Twilio's Create Message, by their names there; "
            "`PersistentAction` may have several.",
        ),
    ] = Field(default_factory=dict)

    @property
    def content(self) -> Content:
        """What it says. Raises LocationError."""
        options = option_texts(self.options, self.location)
        return Content(
            body=self.body,
            media_urls=tuple(self.media_urls),
            content_sid=self.content_sid,
            content_variables=texts(self.content_variables or {}),
            options=options,
            languages=self.content_sids or {},
            language_column=self.language_column,
            fallback=self.fallback.template if self.fallback else None,
            sms=self.sms_fallback.sms if self.sms_fallback else None,
        )


#: Fields whose faults leave a content that can't be judged as a whole.
CONTENT_FIELDS = frozenset(set(ContentForm.model_fields) - {"outside_window"})


def texts(values: dict[str, Any]) -> dict[str, str]:
    """Return variables as texts."""
    return {name: str(value) for name, value in values.items()}


def option_texts(options: Mapping[str, Further], place: LocationForm | None) -> dict[str, str]:
    """Return a content's options, a place among them. Raises LocationError."""
    pairs = [
        (name, str(one).lower() if isinstance(one, bool) else str(one))
        for name, value in options.items()
        for one in (value if isinstance(value, list) else [value])
    ]
    return options_of(pairs if place is None else [*pairs, ("PersistentAction", place.action)])
