from __future__ import annotations

import pytest

from ngx_agents.agents.tools.reading import LIMIT, fold, numbered, sentences, words


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("¿Cuántos AÑOS?", "¿cuantos anos?"),
        ("peso 81,2 kg", "peso 81.2 kg"),
        ("son 1,500 kcal", "son 1,500 kcal"),
        ("I’m here", "i'm here"),
        ("", ""),
    ],
)
def test_folding_drops_case_accents_and_decimal_commas(text: str, folded: str) -> None:
    assert fold(text) == folded


def test_folded_text_is_bounded() -> None:
    assert len(fold("ﷺ" * 50_000)) <= LIMIT
    assert len(fold("a" * 100_000)) == LIMIT


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("ocho semanas", "8 semanas"),
        ("treinta y cuatro años", "34 años"),
        ("thirty-four years", "34 years"),
        ("veintidos dias", "22 dias"),
        ("eight-week plan", "8-week plan"),
        ("cincuenta kilos", "50 kilos"),
    ],
)
def test_number_words_become_digits(text: str, digits: str) -> None:
    assert numbered(text) == digits


def test_sentences_do_not_break_inside_numbers() -> None:
    assert sentences("peso 81.2 kg. mido 1.78 m; fin") == ["peso 81.2 kg", "mido 1.78 m", "fin"]


def test_a_stem_with_a_dollar_is_a_whole_word() -> None:
    assert words("pan$").search("como pan hoy")
    assert not words("pan$").search("como panela hoy")
