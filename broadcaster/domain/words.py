"""What somebody means who answers: wants nothing more, wants it again, wants help, or wants a person to look.

A reply *is* a word when nothing but the word is in it, in whatever case, width, accents or punctuation; one
that *contains* an opt-out word ("please stop") is flagged for a person. Defaults: Twilio's Advanced Opt-Out
page (DOC:messaging/tutorials/advanced-opt-out), toll-free SUP:360058144374.

Opt-out words of other languages count as whole replies, too: one taken wrongly costs a message, and START
takes it back; one overlooked costs somebody's wish and, in many countries, a fine. Opt-in words of other
languages are not built in: Twilio knows none of them, so it would go on refusing, and one taken wrongly
writes to somebody who said no. Whoever wants them sets them.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broadcaster.domain.senders import SenderKind
from broadcaster.domain.spelling import key_of, words_in

if TYPE_CHECKING:
    from collections.abc import Iterable


class Meaning(enum.StrEnum):
    """What a reply is taken for."""

    OPT_OUT = "opt_out"
    OPT_IN = "opt_in"
    HELP = "help"
    OTHER = "other"


#: What Twilio takes by itself on long codes and toll-free numbers.
STOP: Final = ("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT")
START: Final = ("START", "YES", "UNSTOP")
HELP: Final = ("HELP", "INFO")
#: On a toll-free number the network keeps the list, and lets only these back in.
TOLL_FREE_START: Final = ("START", "UNSTOP")

#: Opt-out words by language.
STOP_ABROAD: Final = {
    "es": ("ALTO", "BAJA", "PARAR", "PARE", "CANCELAR", "DETENER", "DARME DE BAJA", "NO MÁS"),
    "pt": ("PARAR", "PARE", "SAIR", "CANCELAR", "REMOVER", "DESCADASTRAR"),
    "fr": ("ARRÊT", "ARRÊTER", "ARRÊTEZ", "DÉSABONNER", "DÉSINSCRIRE", "DÉSABONNEMENT"),
    "de": ("STOPP", "ABMELDEN", "ABBESTELLEN", "AUSTRAGEN", "BEENDEN"),
    "it": ("BASTA", "CANCELLA", "CANCELLAMI", "DISISCRIVIMI", "ANNULLA"),
    "nl": ("STOPPEN", "AFMELDEN", "UITSCHRIJVEN"),
    "sv": ("STOPPA", "AVSLUTA", "AVREGISTRERA"),
    "da": ("AFMELD", "STOP SMS"),
    "pl": ("REZYGNUJĘ", "WYPISZ", "KONIEC"),
    "tr": ("DURDUR", "İPTAL", "RET"),
    "id": ("BERHENTI", "BATAL"),
    "ru": ("СТОП", "ОТПИСАТЬСЯ", "ОТПИСКА", "ХВАТИТ"),
    "uk": ("СТОП", "ВІДПИСАТИСЯ"),
    "el": ("ΔΙΑΚΟΠΗ", "ΣΤΟΠ"),
    "ar": ("توقف", "إيقاف", "الغاء", "إلغاء الاشتراك"),
    "he": ("הסר", "הסירו", "הפסק"),
    "hi": ("बंद", "रोकें", "बंद करो"),
    "th": ("หยุด", "ยกเลิก"),
    "vi": ("NGỪNG", "TỪ CHỐI"),
    "zh": ("退订", "退訂", "取消订阅", "取消訂閱", "停止", "TD"),
    "ja": ("停止", "配信停止", "解除", "ストップ"),
    "ko": ("수신거부", "중지", "그만"),
}
HELP_ABROAD: Final = ("AYUDA", "AJUDA", "AIDE", "HILFE", "AIUTO", "ПОМОЩЬ", "مساعدة", "帮助", "幫助")
#: What says the same in more words, and signs that do without: only flagged, never an opt-out by itself.
FLAGS: Final = (
    *(
        "opt out",
        "stop all",
        "unsub",
        "remove",
        "take me off",
        "leave me alone",
        "no more",
    ),
    *("do not text", "dont text", "do not message", "dont message", "do not contact", "dont contact", "spam"),
    *("unsubcribe", "unsuscribe", "unsubsribe", "unsubscribed", "stpo", "sotp", "stop2end", "stoptexting"),
    *(
        "wrong number",
        "me borre",
        "no me escriban",
        "no quiero",
        "nao quero",
        "keine nachrichten",
        "plus de messages",
    ),
)
_SIGNS: Final = frozenset("\U0001f6d1\U0001f6ab\u26d4")
#: Written without spaces between words: Thai, Lao, Chinese, Japanese.
_UNSPACED: Final = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_RUN: Final = re.compile(r"(.)\1+")
#: A shorter word of another language ("td", "ret") is in too many a text to say anything there.
_HINTS: Final = 4


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reply means; `flag` says why a person should look at it, "" if nobody need."""

    meaning: Meaning
    flag: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """The words of an installation, as `key_of` gives them; `hints` are what flags a reply."""

    stop: frozenset[str]
    start: frozenset[str]
    help: frozenset[str]
    hints: tuple[str, ...]
    unspaced_hints: tuple[str, ...]

    def read(self, body: str, sender: SenderKind | None, *, opt_out_type: str = "") -> Reading:
        """Read a reply to a sender of this kind. Twilio's own verdict (`OptOutType`) goes before ours."""
        said = _TWILIOS.get(opt_out_type.strip().upper())
        if said is not None:
            return Reading(said)
        words = words_in(body)
        key = "".join(words)
        if key in self.stop:
            return Reading(Meaning.OPT_OUT)
        if key in (_TOLL_FREE_KEYS if sender is SenderKind.TOLL_FREE else self.start):
            return Reading(Meaning.OPT_IN)
        if key in self.help:
            return Reading(Meaning.HELP)
        return Reading(Meaning.OTHER, "it may ask to be left alone" if self._hinted(body, words) else "")

    def _hinted(self, body: str, words: list[str]) -> bool:
        if not _SIGNS.isdisjoint(body):
            return True
        text = f" {_unstretched(' '.join(words))} "
        if any(hint in text for hint in self.hints):
            return True
        return bool(self.unspaced_hints) and any(hint in "".join(words) for hint in self.unspaced_hints)


_TWILIOS: Final = {"STOP": Meaning.OPT_OUT, "START": Meaning.OPT_IN, "HELP": Meaning.HELP}
_TOLL_FREE_KEYS: Final = frozenset(map(key_of, TOLL_FREE_START))


def words_of(stop: Iterable[str] = (), start: Iterable[str] = (), helping: Iterable[str] = ()) -> Words:
    """Return the built-in words and the operator's own. An own word goes before a built-in one."""
    own = [frozenset(filter(None, map(key_of, some))) for some in (stop, start, helping)]
    abroad = [word for some in STOP_ABROAD.values() for word in some]
    stops, starts, helps = (
        (frozenset(map(key_of, built_in)) - frozenset().union(*own)) | own[kind]
        for kind, built_in in enumerate(((*STOP, *abroad), START, (*HELP, *HELP_ABROAD)))
    )
    long = [word for word in abroad if len(key_of(word)) >= _HINTS or _UNSPACED.search(word)]
    told = [words_in(text) for text in (*STOP, *long, *stop, *FLAGS)]
    kept = [words for words in told if words and "".join(words) not in starts | helps]
    unspaced = {"".join(words) for words in kept if _UNSPACED.search("".join(words))}
    spaced = {f" {_unstretched(' '.join(words))} " for words in kept if "".join(words) not in unspaced}
    return Words(stops, starts, helps, tuple(sorted(spaced)), tuple(sorted(unspaced)))


def twilio_takes(body: str, sender: SenderKind | None) -> bool:
    """Whether Twilio acts on a reply by itself, and answers it: a default word alone, on a number of its own.

    On short codes (SUP:223181748) and WhatsApp it does nothing.
    """
    if sender not in _ANSWERED_BY_TWILIO:
        return False
    return body.strip().upper() in _DEFAULTS


_ANSWERED_BY_TWILIO: Final = frozenset({SenderKind.LONG_CODE, SenderKind.LONG_CODE_US, SenderKind.TOLL_FREE})
_DEFAULTS: Final = frozenset((*STOP, *START, *HELP))


def _unstretched(text: str) -> str:
    """Return "stoppp" as "stop"."""
    return _RUN.sub(r"\1", text)
