from __future__ import annotations

import json
from typing import Any

import pytest

from ngx_agents.agents.tools.progress import Progress
from ngx_agents.errors import InvalidRequest

from .contexts import Diary, context, run, weights

TOOL = Progress()
FALLING = Diary(weights(*((day, 80 + day * 0.5 / 7) for day in range(0, 84, 3))))


@pytest.mark.parametrize(
    ("text", "period"),
    [
        ("¿cómo voy este mes?", "last_month"),
        ("my progress over the last month", "last_month"),
        ("evolución de 3 meses", "last_3_months"),
        ("tres meses", "last_3_months"),
        ("todo mi historial", "all"),
        ("since I started", "all"),
        ("¿cómo voy?", "last_3_months"),
        ("", "last_3_months"),
        ("a" * 100_000, "last_3_months"),
    ],
)
def test_the_period_is_read(text: str, period: str) -> None:
    assert TOOL.arguments_from(context(text)) == {"period": period}


async def test_a_steady_loss_is_reported_with_its_pace() -> None:
    output = await run(TOOL, context("¿cómo voy?", diary=FALLING))
    facts = output.facts
    assert output.kind == "ProgressAnalysis"
    assert facts["enough"] is True
    assert facts["rate_kg_week"] == -0.5
    assert facts["change_kg"] == pytest.approx(-5.8)
    assert facts["direction"] == "bajando"
    assert facts["pace"] == "healthy"
    assert facts["projection"]["low_kg"] < facts["projection"]["high_kg"] < 80.5
    assert output.data is not None
    assert output.data["chart_svg"].startswith("<svg")
    assert len(output.data["points"]) == 28
    assert json.loads(json.dumps(output.data)) == output.data


@pytest.mark.parametrize(("rate", "pace"), [(-1.5, "too_fast"), (1.5, "too_fast"), (0.01, "steady"), (0.3, "healthy")])
async def test_the_pace_is_judged_against_one_per_cent_a_week(rate: float, pace: str) -> None:
    diary = Diary(weights(*((day, 80 - rate * day / 7) for day in range(0, 28, 2))))
    assert (await run(TOOL, context("", diary=diary))).facts["pace"] == pace


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ((), "No tienes ningún peso registrado"),
        (((2, 80.0), (1, 79.0)), "Solo hay 2"),
        (((3, 80.0), (2, 79.0), (1, 78.0)), "abarcan 2"),
    ],
)
async def test_too_few_entries_give_no_figure(entries: tuple[tuple[float, float], ...], said: str) -> None:
    output = await run(TOOL, context("", diary=Diary(weights(*entries))))
    assert output.facts["enough"] is False
    assert said in output.facts["note"]
    assert not {"rate_kg_week", "projection", "direction"} & set(output.facts)
    assert (output.kind is None) == (not entries)


async def test_entries_before_the_period_do_not_count() -> None:
    month = await run(TOOL, context("", diary=FALLING), period="last_month")
    everything = await run(TOOL, context("", diary=FALLING), period="all")
    assert month.facts["count"] < everything.facts["count"]


async def test_english_facts_are_english() -> None:
    facts: dict[str, Any] = (await run(TOOL, context("", locale="en", diary=FALLING))).facts
    assert facts["direction"] == "going down"
    assert "within what is advisable" in facts["pace_note"]


async def test_an_unknown_period_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        await TOOL.run({"period": "yesterday"}, context(""))
    assert refused.value.field == "period"
