"""Settings about replies: more words than the built-in ones, and what is answered."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator
from pydantic_settings import BaseSettings

from broadcaster.domain import settings_rules as rules
from broadcaster.domain.settings_types import ReplyText, ReplyWords


class ReplySettings(BaseSettings):
    """What is set about people's replies."""

    stop_words: ReplyWords = None
    """More words that opt out, by language: es:BAJA,ALTO;de:STOPP. Many are built in."""
    start_words: ReplyWords = None
    """More words that opt in again, in the same way; built in are Twilio's START, YES and UNSTOP."""
    help_words: ReplyWords = None
    """More words that ask for help, in the same way."""
    stop_answer: ReplyText = None
    """What answers an opt-out where Twilio says nothing: on short codes, WhatsApp, to words of your own."""
    start_answer: ReplyText = None
    """The same for an opt-in."""
    help_answer: ReplyText = None
    """The same for a word that asks for help."""
    auto_reply: ReplyText = None
    """What answers any other reply, once a day to each person; never to who is opted out."""

    @model_validator(mode="after")
    def _words_apart(self) -> Self:
        rules.words_apart(self.stop_words, self.start_words, self.help_words)
        return self
