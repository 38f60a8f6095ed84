from __future__ import annotations

import pytest

from ngx_agents.agents.language import Localized, choose_language
from ngx_agents.agents.wording import normalise, words_of


def chosen(text: str, locale: str | None = None, profile_locale: str | None = None) -> str:
    return choose_language(words_of(normalise(text)), locale=locale, profile_locale=profile_locale)


@pytest.mark.parametrize(
    ("locale", "language"),
    [("es-MX", "es"), ("es", "es"), ("ES-es", "es"), ("en_GB", "en"), ("en-US", "en")],
)
def test_an_explicit_locale_wins_over_the_text(locale: str, language: str) -> None:
    assert chosen("the quick brown fox is here, and el plan que quiero", locale=locale) == language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Quiero bajar de peso", "es"),
        ("hola", "es"),
        ("¿Cuántas proteínas necesito?", "es"),
        ("registra 80 kg", "es"),
        ("I want to lose weight", "en"),
        ("hello", "en"),
        ("meal plan with more protein please", "en"),
        ("log 80 kg", "en"),
        ("quiero un workout plan para ganar strength", "es"),
    ],
)
def test_the_language_is_told_from_the_words(text: str, language: str) -> None:
    assert chosen(text) == language


def test_a_locale_of_another_language_says_nothing() -> None:
    assert chosen("I want to lose weight", locale="fr-FR") == "en"


def test_the_profile_decides_when_the_text_does_not_say() -> None:
    assert chosen("ok", profile_locale="en-US") == "en"
    assert chosen("ok", profile_locale="es-ES") == "es"


def test_spanish_is_the_last_resort() -> None:
    assert chosen("12345 ???") == "es"


def test_a_text_must_be_there_in_both_languages() -> None:
    with pytest.raises(ValueError, match="both languages"):
        Localized(es="hola", en=" ")
