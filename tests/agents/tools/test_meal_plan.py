from __future__ import annotations

import json
from statistics import median
from time import thread_time

import pytest

from ngx_agents.agents.tools.meal_plan import MealPlan
from ngx_agents.agents.tools.nutrition.foods import FOODS
from ngx_agents.agents.tools.tool import ToolOutput
from ngx_agents.state.model import Profile

from .contexts import context, run

TOOL = MealPlan()
BODY = "Tengo 34 años, peso 81 kg, mido 178, soy hombre"


def foods_of(output: ToolOutput) -> set[str]:
    assert output.data is not None
    items = [item for day in output.data["daily_plan"] for meal in day["meals"] for item in meal["items"]]
    return {item["id"] for item in items} | {item["swap_id"] for item in items if item["swap_id"]}


async def test_a_menu_meets_the_computed_target() -> None:
    output = await run(TOOL, context(f"{BODY} y quiero bajar grasa"))
    target, total = output.facts["target"], output.facts["menu"]["total"]
    assert output.kind == "MealPlan"
    assert output.title == "Menú de un día: 1933 kcal y 162 g de proteína"
    assert target["maintenance_kcal"] == 2417
    assert total["kcal"] == pytest.approx(1933, rel=0.1)
    assert total["protein_g"] == pytest.approx(162, rel=0.1)
    assert sum(meal["total"]["kcal"] for meal in output.facts["menu"]["meals"]) == pytest.approx(total["kcal"], abs=5)


async def test_the_artifact_holds_three_days_and_is_json() -> None:
    output = await run(TOOL, context(BODY))
    assert output.data is not None
    assert len(output.data["daily_plan"]) == 3
    assert json.loads(json.dumps(output.data)) == output.data


@pytest.mark.parametrize(
    ("said", "allergen"),
    [("Soy alérgico a los cacahuates", "peanuts"), ("alergia a mariscos", "crustaceans"), ("soy celíaco", "gluten")],
)
async def test_neither_menu_nor_swap_holds_the_allergen_and_everyone_is_told(said: str, allergen: str) -> None:
    output = await run(TOOL, context(f"{BODY}. {said}"))
    assert not [food for food in foods_of(output) if allergen in FOODS[food].allergens]
    assert any("Alergia" in limit for limit in output.constraints)


async def test_a_model_that_forgets_an_allergy_does_not_bring_it_back() -> None:
    given = context(BODY, profile=Profile(allergies=["leche"]))
    output = await TOOL.run({"goal": "maintain", "allergies": []}, given)
    assert not [food for food in foods_of(output) if "milk" in FOODS[food].allergens]


async def test_missing_data_is_asked_for_and_never_made_up() -> None:
    output = await run(TOOL, context("quiero un menú para bajar de peso, peso 80 kg"))
    facts = output.facts
    assert facts["complete"] is False
    assert facts["missing"] == ["estatura (cm)", "edad"]
    assert "target" not in facts
    assert any("80 kg" in line and "144–176 g" in line for line in facts["guidance"])
    unknown = await run(TOOL, context("a menu please", locale="en"))
    assert unknown.facts["missing"] == ["weight (kg)", "height (cm)", "age"]
    assert not any(" kg: about" in line for line in unknown.facts["guidance"])


async def test_minors_get_no_calories() -> None:
    output = await run(TOOL, context("tengo 15 años, peso 60 kg, mido 170 y quiero adelgazar"))
    assert "kcal" not in json.dumps(output.facts["guidance"])
    assert output.facts["complete"] is False
    assert any("pediatra" in note for note in output.facts["notes"])


async def test_an_unknown_allergy_is_admitted() -> None:
    output = await run(TOOL, context(BODY, profile=Profile(allergies=["polen"])))
    assert output.facts["unknown"] == ["polen"]
    assert any("polen" in limit for limit in output.constraints)
    assert any("no puedo garantizar" in note for note in output.facts["notes"])


async def test_kidney_disease_means_moderate_protein_and_no_deficit() -> None:
    output = await run(TOOL, context(f"{BODY}, quiero bajar de peso", profile=Profile(conditions=["renal"])))
    assert output.facts["target"]["protein_g"] == 81
    assert output.facts["target"]["kcal"] == output.facts["target"]["maintenance_kcal"]
    assert "Sin déficit calórico sin visto bueno profesional." in output.constraints


async def test_a_plan_takes_little_time() -> None:
    times = []
    for _ in range(9):
        before = thread_time()
        await run(TOOL, context(BODY))
        times.append(thread_time() - before)
    assert median(times) < 0.01


@pytest.mark.parametrize(
    ("earlier", "text", "allergens"),
    [
        (
            ("Soy alérgica a los huevos y a la leche",),
            "Tengo 34 años, 81 kg, 178 cm, mujer. Hazme un menú",
            "eggs milk",
        ),
        (("I'm allergic to peanuts and eggs",), "I'm 34, 81 kg, 178 cm, male. Make me a menu", "peanuts eggs"),
        (("Soy celíaco", "Tengo 34 años, 81 kg, 178 cm"), "hazme un menú", "gluten"),
    ],
)
@pytest.mark.parametrize("by_model", [False, True])
async def test_an_allergy_told_before_holds_now_whoever_chose_the_arguments(
    earlier: tuple[str, ...], text: str, allergens: str, *, by_model: bool
) -> None:
    given = context(text, earlier=earlier)
    output = await (TOOL.run({"allergies": []}, given) if by_model else run(TOOL, given))
    assert output.facts["complete"]
    assert not [food for food in foods_of(output) if set(allergens.split()) & set(FOODS[food].allergens)]
    assert any("Alergia" in limit for limit in output.constraints)


async def test_body_and_goal_told_before_are_not_asked_for_again_and_the_newest_wins() -> None:
    earlier = ("quiero bajar 20 kilos, tengo 34 años, peso 95 kg, mido 165 cm, mujer", "ahora peso 90 kg")
    facts = (await run(TOOL, context("hazme un menú", earlier=earlier))).facts
    assert facts["complete"]
    assert facts["goal"] == "perder grasa"
    same = (await run(TOOL, context("34 años, 90 kg, 165 cm, mujer, quiero perder grasa"))).facts
    assert facts["target"] == same["target"]


async def test_a_pregnancy_told_before_keeps_the_deficit_out() -> None:
    output = await run(TOOL, context(f"{BODY}, quiero adelgazar", earlier=("estoy embarazada y no quiero pescado",)))
    assert "Sin déficit calórico sin visto bueno profesional." in output.constraints
