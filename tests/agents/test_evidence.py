from __future__ import annotations

from ngx_agents.agents.evidence import Evidence

EXAMPLES = {
    "training": ["plan de entrenamiento", "rutina de pesas", "quiero entrenar fuerza", "programa de fuerza"],
    "food": ["plan de comidas", "menu de la semana", "quiero comer sano", "dieta de proteina"],
}


def evidence() -> Evidence:
    return Evidence({name: [text.split() for text in texts] for name, texts in EXAMPLES.items()})


def test_a_word_of_one_class_speaks_for_it_alone() -> None:
    assert set(evidence().of(["rutina"])) == {"training"}


def test_a_word_of_all_classes_speaks_for_none() -> None:
    assert evidence().of(["quiero", "de"]) == {}


def test_words_of_two_subjects_speak_for_both() -> None:
    assert set(evidence().of(["rutina", "y", "dieta"])) == {"training", "food"}


def test_forms_of_a_word_count_as_the_word() -> None:
    known = evidence()
    assert known.of(["rutinas"]) == known.of(["rutina"])
    assert known.of(["entrenamientos"]) == known.of(["entrenamiento"])


def test_one_slip_is_forgiven() -> None:
    known = evidence()
    for slip in ("entrenamineto", "entrenamento", "entrenammiento", "entrenamiemto"):
        assert known.of([slip]) == known.of(["entrenamiento"]), slip


def test_short_words_are_not_corrected() -> None:
    assert evidence().of(["dita"]) == {}


def test_a_pair_of_neighbours_adds_to_its_words() -> None:
    known = evidence()
    together, apart = known.of(["x", "plan", "de", "comidas"]), known.of(["x", "comidas", "plan", "y"])
    assert together["food"] > apart["food"]
