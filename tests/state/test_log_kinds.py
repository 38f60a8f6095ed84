from __future__ import annotations

from typing import Any

import pytest

from ngx_agents.errors import InvalidRequest
from ngx_agents.state.log_kinds import SHAPES, checked
from ngx_agents.state.model import LogKind

GOOD: list[tuple[LogKind, dict[str, Any]]] = [
    ("weight", {"kg": 81.2, "body_fat_percent": 20, "measurements_cm": {"waist": 88.5}}),
    ("sleep", {"hours": 7.5, "quality": 8, "notes": "bien"}),
    ("workout", {"minutes": 45, "exercises": [{"id": "squat", "sets": [{"reps": 5, "weight_kg": 100, "rpe": 8}]}]}),
    ("check_in", {"energy": 7, "pain_areas": [{"area": "knee", "intensity": 3}]}),
    ("nutrition", {"meal": "lunch", "foods": [{"name": "arroz", "quantity": 150, "unit": "g"}], "kcal": 650}),
]
BAD: list[tuple[LogKind, dict[str, Any], str]] = [
    ("weight", {}, "data"),
    ("weight", {"kg": "81"}, "data.kg"),
    ("weight", {"kg": float("nan")}, "data.kg"),
    ("weight", {"kg": -1}, "data.kg"),
    ("weight", {"kg": 81, "waist": 88}, "data"),
    ("sleep", {"hours": 25}, "data.hours"),
    ("sleep", {"hours": 7, "quality": 11}, "data.quality"),
    ("workout", {"exercises": [{"id": "x", "sets": [{"reps": -1}]}]}, "data.exercises[0].sets[0].reps"),
    ("check_in", {"pain_areas": [{"area": "knee"}]}, "data.pain_areas[0]"),
    ("nutrition", {"meal": "brunch"}, "data.meal"),
]


@pytest.mark.parametrize(("kind", "data"), GOOD)
def test_what_people_log_is_taken_as_it_is(kind: LogKind, data: dict[str, Any]) -> None:
    assert checked(kind, data).items() >= data.items()


def test_every_kind_has_an_example_here() -> None:
    assert {kind for kind, _ in GOOD} == set(SHAPES)


@pytest.mark.parametrize(("kind", "data", "field"), BAD)
def test_what_is_not_of_its_kind_is_refused_by_name(kind: LogKind, data: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        checked(kind, data)
    assert refused.value.field == field
