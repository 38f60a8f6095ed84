from __future__ import annotations

import pytest

from ngx_agents.agents.tools.training.exercises import CATALOGUE
from ngx_agents.agents.tools.training.injuries import AREAS, Injury, injuries_from, label, unrecognised


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("me duele la rodilla derecha", [Injury(area="knee", side="right")]),
        ("my left shoulder hurts, pain 6 out of 10", [Injury(area="shoulder", side="left", pain=6)]),
        ("dolor lumbar de nivel 7", [Injury(area="back", pain=7)]),
        (
            "me duele la rodilla, el hombro y la espalda",
            [Injury(area="knee"), Injury(area="back"), Injury(area="shoulder")],
        ),
        ("no me duele la rodilla pero sí el hombro izquierdo", [Injury(area="shoulder", side="left")]),
        ("me torcí el tobillo izquierdo", [Injury(area="ankle", side="left")]),
        ("tengo fascitis plantar", [Injury(area="foot")]),
        ("both knees hurt", [Injury(area="knee", side="both")]),
        ("bad knee", [Injury(area="knee")]),
        ("dolor de rodilla 8 de 10 en la derecha", [Injury(area="knee", side="right", pain=8)]),
    ],
)
def test_stated_injuries_are_found(text: str, expected: list[Injury]) -> None:
    assert list(injuries_from(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "quiero hombros más grandes",
        "no me duele la rodilla",
        "ya no me duele la espalda",
        "my knee doesn't hurt anymore",
        "sin lesiones de rodilla",
        "fortalecer la espalda",
        "I'm back, let's train",
        "",
    ],
)
def test_a_body_part_alone_or_denied_pain_is_no_injury(text: str) -> None:
    assert injuries_from(text) == ()


def test_the_profile_needs_no_word_of_pain() -> None:
    assert injuries_from("", ["rodilla izquierda", "menisco 4/10"]) == (Injury(area="knee", side="left", pain=4),)


def test_what_is_not_understood_is_reported() -> None:
    assert unrecognised(["rodilla", "síndrome raro"]) == ("síndrome raro",)


@pytest.mark.parametrize(
    ("injury", "spanish", "english"),
    [
        (Injury(area="knee", side="right"), "rodilla derecha", "right knee"),
        (Injury(area="shoulder", side="left"), "hombro izquierdo", "left shoulder"),
        (Injury(area="ankle", side="both"), "tobillo (ambos lados)", "both ankles"),
        (Injury(area="back"), "espalda", "back"),
    ],
)
def test_labels_agree_in_gender_and_side(injury: Injury, spanish: str, english: str) -> None:
    assert (label(injury, "es"), label(injury, "en")) == (spanish, english)


def test_what_an_area_adds_exists_and_none_of_it_is_what_it_forbids() -> None:
    for area in AREAS.values():
        for exercise in area.add:
            assert not set(CATALOGUE[exercise].stress) & set(area.avoid), (area.id, exercise)
        assert set(area.avoid) <= {tag for exercise in CATALOGUE.values() for tag in exercise.stress}, area.id
        assert set(area.rest) <= {exercise.pattern for exercise in CATALOGUE.values()}, area.id


@pytest.mark.parametrize("text", ["tengo la rodilla mal: plan de fuerza", "tengo las rodillas fatal, quiero correr"])
def test_an_area_that_is_not_well_is_injured(text: str) -> None:
    assert [injury.area for injury in injuries_from(text)] == ["knee"]


def test_bad_things_elsewhere_injure_no_area() -> None:
    assert injuries_from("no está mal la idea, hazme un plan de piernas") == ()
