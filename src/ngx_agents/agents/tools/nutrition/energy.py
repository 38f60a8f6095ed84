"""Energy and macronutrients of a day, from body and goal, within safe bounds.

Sources: resting energy, Mifflin–St Jeor 1990 (PMID 2305711); protein 1.4–2.0 g/kg, ISSN, Jäger 2017
(doi:10.1186/s12970-017-0177-8); 10–35 % of energy as protein and 14 g of fibre per 1,000 kcal, Institute of
Medicine 2005 (doi:10.17226/10490); no diet below 1,200 (women) or 1,500 kcal (men), AHA/ACC/TOS 2013
(doi:10.1161/01.cir.0000437739.71477.ee).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from ngx_agents.agents.tools.person import Activity, Person, Sex

EatingGoal = Literal["lose_fat", "maintain", "gain_muscle"]
ACTIVITY_FACTOR: dict[Activity, float] = {
    "sedentary": 1.2, "light": 1.375, "moderate": 1.55, "high": 1.725, "very_high": 1.9,
}  # fmt: skip
SEX_KCAL: dict[Sex | None, float] = {"male": 5.0, "female": -161.0, None: -78.0}
FLOOR_KCAL: dict[Sex | None, int] = {"male": 1500, "female": 1200, None: 1500}
CEILING_KCAL = 5000
DEFICIT_SHARE, DEFICIT_MAX_KCAL = 0.20, 600
SURPLUS_SHARE, SURPLUS_MAX_KCAL = 0.10, 350
PROTEIN_G_KG: dict[EatingGoal, float] = {"lose_fat": 2.0, "maintain": 1.6, "gain_muscle": 1.8}
PROTEIN_CAUTIOUS_G_KG = 1.0
PROTEIN_MIN_SHARE, PROTEIN_MAX_SHARE = 0.13, 0.35  # of energy
FAT_SHARE = 0.28
FAT_MIN_G_KG = 0.6
FIBRE_G_PER_1000_KCAL = 14
LEAN_BMI = 18.5
HIGH_BMI = 30.0
REFERENCE_BMI = 25.0
NEEDED: tuple[str, ...] = ("weight_kg", "height_cm", "age")


class DayTarget(msgspec.Struct, frozen=True, kw_only=True):
    """kcal and grams of a day. `either_way_kcal` is how far the unknown sex may move it; `weight_kg` is what grams
    per kg refer to: the body weight, adjusted when the BMI is 30 or more."""

    resting_kcal: int
    maintenance_kcal: int
    kcal: int
    protein_g: int
    carbs_g: int
    fat_g: int
    fibre_g: int
    weight_kg: float
    bmi: float
    goal: EatingGoal
    either_way_kcal: int = 0


def missing(person: Person) -> tuple[str, ...]:
    """What is needed for an energy target and not known."""
    return tuple(name for name in NEEDED if getattr(person, name) is None)


def day_target(person: Person, goal: EatingGoal, *, low_protein: bool = False) -> DayTarget:
    """The target for a person of whom nothing is `missing`. A lean person gets no deficit."""
    weight, height, age = person.weight_kg, person.height_cm, person.age
    assert weight is not None
    assert height is not None
    assert age is not None
    bmi = weight / (height / 100) ** 2
    if goal == "lose_fat" and bmi < LEAN_BMI:
        goal = "maintain"
    factor = ACTIVITY_FACTOR[person.activity or "light"]
    resting = resting_kcal(weight, height, age, person.sex)
    kcal = min(max(_for_goal(resting * factor, goal), FLOOR_KCAL[person.sex]), CEILING_KCAL)
    reference = reference_weight(weight, height)
    per_kg = PROTEIN_CAUTIOUS_G_KG if low_protein else PROTEIN_G_KG[goal]
    least = 0.0 if low_protein else PROTEIN_MIN_SHARE * kcal / 4
    protein = min(max(per_kg * reference, least), PROTEIN_MAX_SHARE * kcal / 4)
    fat = min(max(FAT_SHARE * kcal / 9, FAT_MIN_G_KG * reference), (kcal - 4 * protein) / 9)
    carbs = (kcal - 4 * protein - 9 * fat) / 4
    return DayTarget(
        resting_kcal=round(resting),
        maintenance_kcal=round(resting * factor),
        kcal=round(kcal),
        protein_g=round(protein),
        carbs_g=round(carbs),
        fat_g=round(fat),
        fibre_g=round(kcal / 1000 * FIBRE_G_PER_1000_KCAL),
        weight_kg=round(reference, 1),
        bmi=round(bmi, 1),
        goal=goal,
        either_way_kcal=round(83 * factor) if person.sex is None else 0,
    )


def resting_kcal(weight_kg: float, height_cm: float, age: int, sex: Sex | None) -> float:
    """Mifflin–St Jeor; for an unknown sex the middle of the two."""
    return max(10 * weight_kg + 6.25 * height_cm - 5 * age + SEX_KCAL[sex], 600.0)


def reference_weight(weight_kg: float, height_cm: float) -> float:
    """Body weight; from BMI 30 on the weight at BMI 25 and a quarter of what is above it."""
    square = (height_cm / 100) ** 2
    if weight_kg / square < HIGH_BMI:
        return weight_kg
    lean = REFERENCE_BMI * square
    return lean + 0.25 * (weight_kg - lean)


def _for_goal(maintenance: float, goal: EatingGoal) -> float:
    if goal == "lose_fat":
        return maintenance - min(DEFICIT_SHARE * maintenance, DEFICIT_MAX_KCAL)
    if goal == "gain_muscle":
        return maintenance + min(SURPLUS_SHARE * maintenance, SURPLUS_MAX_KCAL)
    return maintenance
