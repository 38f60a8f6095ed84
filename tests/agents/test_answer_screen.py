from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.agents.answer_screen import MAX_HELD, AnswerScreen
from ngx_agents.agents.loader import TEAM_FOLDER
from ngx_agents.agents.safety_content import load_safety

from .safety_phrases import RELEASED, WITHHELD

CONTENT = load_safety(TEAM_FOLDER / "safety.toml")
SCREEN = AnswerScreen(CONTENT)


def shown(*chunks: str) -> str:
    gate = SCREEN.gate("es")
    return "".join(gate.feed(chunk) for chunk in chunks) + gate.finish()


@pytest.mark.parametrize("sentence", WITHHELD)
def test_a_sentence_that_diagnoses_or_touches_medication_is_replaced(sentence: str) -> None:
    text = shown("Hola. ", sentence, " Camina 20 minutos.")
    assert sentence not in text
    assert text.startswith("Hola. ")
    assert CONTENT.withheld.es in text
    assert text.endswith("Camina 20 minutos.")


@pytest.mark.parametrize(
    "sentence", ["_Tienes diabetes_.", "**Tienes** diabetes.", "Tienes **diabetes**.", "__You__ have `diabetes`."]
)
def test_emphasis_hides_nothing(sentence: str) -> None:
    assert sentence not in shown(sentence, " Camina 20 minutos.")


@pytest.mark.parametrize("sentence", RELEASED)
def test_warnings_and_ordinary_advice_pass(sentence: str) -> None:
    assert shown(sentence) == sentence


@pytest.mark.parametrize("sentence", WITHHELD)
def test_nothing_of_a_withheld_sentence_leaves_however_it_is_cut(sentence: str) -> None:
    gate = SCREEN.gate("en")
    text = "".join(gate.feed(letter) for letter in sentence) + gate.finish()
    assert text.strip() == CONTENT.withheld.en
    assert gate.withheld == 1


def test_the_replacement_is_said_once() -> None:
    text = shown("Tienes diabetes. Sube la dosis. ", "Deja de tomar la metformina. Adiós.")
    assert text.count(CONTENT.withheld.es) == 1
    assert text.endswith("Adiós.")


def test_a_sentence_is_held_until_it_ends() -> None:
    gate = SCREEN.gate("es")
    assert gate.feed("Camina veinte") == ""
    assert gate.feed(" minutos") == ""
    assert gate.feed(". Luego") == "Camina veinte minutos. "
    assert gate.finish() == "Luego"


def test_text_without_any_sentence_end_is_not_held_for_ever() -> None:
    gate = SCREEN.gate("es")
    text = "palabra " * (MAX_HELD // 4)
    released = gate.feed(text)
    assert len(text) - len(released) < MAX_HELD
    assert released + gate.finish() == text


def test_a_bad_sentence_is_found_where_long_text_is_cut() -> None:
    filler = "palabra " * (MAX_HELD // 8 - 2)
    assert "metformina" not in shown(filler, "deja de tomar la metformina ya ", filler)


@given(st.lists(st.sampled_from(["Camina. ", "Haz 3 series", "\n- uno\n", "¡Bien! ", "3.5 kg", " y ", "…"])))
def test_harmless_text_comes_out_as_it_went_in(chunks: list[str]) -> None:
    assert shown(*chunks) == "".join(chunks)


@pytest.mark.parametrize("filler", [".", "!", "\n", '"', "*", ". ", '!"*_'])
def test_a_long_run_of_marks_costs_little(filler: str) -> None:
    began_s = time.process_time()
    text = shown(filler * 50_000, "Tienes diabetes.\n")
    assert CONTENT.withheld.es in text
    assert time.process_time() - began_s < 2
