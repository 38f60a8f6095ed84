from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.agents.wording import normalise, words_of


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("¿Qué  ES esto?\n", "¿que es esto?"),
        ("MAÑANA", "manana"),
        ("can’t", "can't"),
        ("do\u200blor", "dolor"),
        ("ＤＯＬＯＲ", "dolor"),
        ("pi\u0301e", "pie"),
    ],
)
def test_accents_case_spaces_and_invisible_characters_vanish(text: str, plain: str) -> None:
    assert normalise(text) == plain


def test_numbers_keep_their_decimals_and_let_go_of_their_unit() -> None:
    assert words_of("peso 81,5kg hoy") == ["peso", "81,5", "kg", "hoy"]


@given(st.text(max_size=200))
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


@given(st.text(max_size=200))
def test_words_hold_only_letters_or_numbers(text: str) -> None:
    assert all(word.isalpha() or word[0].isdigit() for word in words_of(normalise(text)))
