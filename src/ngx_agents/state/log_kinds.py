"""What the data of each kind of log entry must be: the fields people log, with units in their names and bounds.

Progress answers compute with these, so what is stored has to be a number where a number is meant.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ngx_agents.errors import InvalidRequest
from ngx_agents.state.model import LogKind

Kg = Annotated[float, Meta(ge=2, le=700)]
Score = Annotated[int, Meta(ge=1, le=10)]
Hours = Annotated[float, Meta(ge=0, le=24)]
Grams = Annotated[float, Meta(ge=0, le=5000)]
Short = Annotated[str, Meta(min_length=1, max_length=200)]
Notes = Annotated[str, Meta(max_length=2000)]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    notes: Notes | None = None


class Weight(_Strict, frozen=True, kw_only=True):
    """`measurements_cm` maps a place, such as `waist`, to centimetres."""

    kg: Kg
    body_fat_percent: Annotated[float, Meta(ge=1, le=75)] | None = None
    measurements_cm: dict[Short, Annotated[float, Meta(gt=0, le=400)]] = {}


class Sleep(_Strict, frozen=True, kw_only=True):
    hours: Hours
    quality: Score | None = None


class WorkoutSet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    reps: Annotated[int, Meta(ge=0, le=1000)] | None = None
    weight_kg: Annotated[float, Meta(ge=0, le=1000)] | None = None
    rpe: Annotated[float, Meta(ge=1, le=10)] | None = None
    rest_s: Annotated[float, Meta(ge=0, le=7200)] | None = None


class Exercise(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    id: Short
    sets: Annotated[list[WorkoutSet], Meta(max_length=100)] = []
    notes: Notes | None = None


class Workout(_Strict, frozen=True, kw_only=True):
    minutes: Annotated[float, Meta(ge=0, le=1440)] | None = None
    exercises: Annotated[list[Exercise], Meta(max_length=100)] = []
    status: Literal["planned", "in_progress", "completed", "skipped", "partial"] = "completed"
    energy: Score | None = None
    soreness: Score | None = None
    enjoyment: Score | None = None


class PainArea(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    area: Short
    intensity: Score
    type: Short | None = None


class CheckIn(_Strict, frozen=True, kw_only=True):
    """Scores run from 1 to 10."""

    sleep_quality: Score | None = None
    sleep_hours: Hours | None = None
    energy: Score | None = None
    stress: Score | None = None
    soreness: Score | None = None
    motivation: Score | None = None
    weight_kg: Kg | None = None
    resting_heart_rate_bpm: Annotated[int, Meta(ge=20, le=250)] | None = None
    hrv_ms: Annotated[float, Meta(ge=0, le=500)] | None = None
    pain_areas: Annotated[list[PainArea], Meta(max_length=30)] = []


class Food(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    name: Short
    quantity: Annotated[float, Meta(ge=0, le=100_000)] | None = None
    unit: Short | None = None
    kcal: Annotated[float, Meta(ge=0, le=20_000)] | None = None
    protein_g: Grams | None = None
    carbs_g: Grams | None = None
    fat_g: Grams | None = None
    fibre_g: Grams | None = None


class Nutrition(_Strict, frozen=True, kw_only=True):
    meal: Literal["breakfast", "lunch", "dinner", "snack", "pre_workout", "post_workout"]
    foods: Annotated[list[Food], Meta(max_length=100)] = []
    kcal: Annotated[float, Meta(ge=0, le=50_000)] | None = None
    protein_g: Grams | None = None
    carbs_g: Grams | None = None
    fat_g: Grams | None = None
    fibre_g: Grams | None = None


SHAPES: dict[LogKind, type[msgspec.Struct]] = {
    "weight": Weight,
    "sleep": Sleep,
    "workout": Workout,
    "check_in": CheckIn,
    "nutrition": Nutrition,
}


def checked(kind: LogKind, data: dict[str, Any]) -> dict[str, Any]:
    """The data as it is stored. Raises InvalidRequest (field `data` and below) for what is not of its kind."""
    try:
        built: dict[str, Any] = msgspec.to_builtins(msgspec.convert(data, SHAPES[kind]))
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        place = path.rstrip("`")
        raise InvalidRequest(f"data of kind {kind}: {reason}", field=f"data{place}") from error
    return built
