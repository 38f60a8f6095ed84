"""Spanish or English, told locally: an explicit locale wins, then the words of the text, then a fallback."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

Language = Literal["es", "en"]

# frequent words that are not words of the other language (so neither "me", "no", "a" nor "plan")
_SPANISH_WORDS = """
que el la los las un una unos de del y o en con por para mi mis tu tus su es soy eres son esta estoy
estas como cuando cuanto cual donde quiero quisiera necesito puedo puedes tengo tienes hay hacer hago
hazme dame ayuda ayudame hola buenas buenos dias tardes gracias peso kilos semana semanas dia mes mas
menos muy pero si sin tambien hoy ayer manana anota registra comer comida cena desayuno almuerzo entrenar
entreno rutina dieta grasa musculo fuerza correr bajar subir ganar perder se al lo le nos porque favor
creo siento duele dolor
"""
_ENGLISH_WORDS = """
the an and or of in on at with for to from my your his her its is am are was were be been i you we they
it this that these those what when how which where who why want need can could would should do does did
have has had make give help hello hi hey thanks thank please weight pounds lbs week weeks day days month
more less very but if without also today yesterday tomorrow log record eat eating food dinner breakfast
lunch train training workout routine diet fat muscle strength run running lose gain build there think
feel hurts pain get out
"""
_SPANISH = frozenset(_SPANISH_WORDS.split())
_ENGLISH = frozenset(_ENGLISH_WORDS.split())


class Localized(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same thing in every language served."""

    es: str
    en: str

    def __post_init__(self) -> None:
        if not (self.es.strip() and self.en.strip()):
            raise ValueError("both languages need a text")

    def of(self, language: Language) -> str:
        return self.es if language == "es" else self.en


def language_of_locale(locale: str | None) -> Language | None:
    """The language of a tag such as `es-MX` or `en_GB`; None for none or another language."""
    if not locale:
        return None
    match locale[:2].lower():
        case "es":
            return "es"
        case "en":
            return "en"
        case _:
            return None


def language_of_words(words: Iterable[str]) -> Language | None:
    """The language most of the normalised words point to; None when they do not say."""
    spanish = english = 0
    for word in words:
        if word in _SPANISH:
            spanish += 1
        elif word in _ENGLISH:
            english += 1
    if spanish == english:
        return None
    return "es" if spanish > english else "en"


def choose_language(words: Iterable[str], *, locale: str | None, profile_locale: str | None = None) -> Language:
    """The language to answer in. `locale` is what the caller asked for in this turn."""
    return language_of_locale(locale) or language_of_words(words) or language_of_locale(profile_locale) or "es"
