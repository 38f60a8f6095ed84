from __future__ import annotations

from typing import Any

import pytest

from ngx_agents.agents.tools.log_weight import LogWeight
from ngx_agents.errors import InvalidRequest

from .contexts import DAY_S, NOW, Diary, context, run, weights

TOOL = LogWeight()


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("hoy peso 81,2 kg", {"kg": 81.2, "days_ago": 0}),
        ("my weight today is 180 lb", {"kg": 81.65, "days_ago": 0}),
        ("apunta que ayer pesé 79.5", {"kg": 79.5, "days_ago": 1}),
        ("anteayer pesé 82 kg", {"kg": 82.0, "days_ago": 2}),
        ("hace cinco días pesaba 80 kg", {"kg": 80.0, "days_ago": 5}),
        ("3 days ago I weighed 77.4", {"kg": 77.4, "days_ago": 3}),
        ("Registra mi peso: 80 kilos", {"kg": 80.0, "days_ago": 0}),
        ("La báscula marcó 74.6 esta mañana", {"kg": 74.6, "days_ago": 0}),
        ("Hoy amanecí en 81 kilos", {"kg": 81.0, "days_ago": 0}),
        ("Log 81.2 kg for this morning", {"kg": 81.2, "days_ago": 0}),
        ("I just weighed in at 85 kg", {"kg": 85.0, "days_ago": 0}),
        ("peso muerto con 120 kg", {}),
        ("quiero llegar a 75 kg", {}),
        ("anota mi objetivo: 75 kg", {}),
        ("log 5 reps of 100 kg squat", {}),
        ("", {}),
        ("peso " * 20_000, {}),
    ],
)
def test_weight_and_day_are_read(text: str, arguments: dict[str, Any]) -> None:
    assert TOOL.arguments_from(context(text)) == arguments


async def test_the_weight_is_stored_and_confirmed_with_the_trend() -> None:
    diary = Diary(weights((20, 83.0), (13, 82.4), (6, 81.9)))
    output = await run(TOOL, context("hoy peso 81,2 kg", diary=diary))
    assert diary.entries[-1].data == {"kg": 81.2}
    assert diary.entries[-1].at == NOW
    assert "81.2 kg" in output.facts["saved"]
    assert output.facts["trend"]["count"] == 4
    assert output.facts["trend"]["direction"] == "bajando"
    assert output.kind is None


async def test_yesterday_is_a_day_before() -> None:
    diary = Diary()
    await run(TOOL, context("ayer pesé 80 kg", diary=diary))
    assert diary.entries[0].at == NOW - DAY_S


async def test_a_turn_run_again_stores_once() -> None:
    diary = Diary()
    for _ in range(2):
        await run(TOOL, context("hoy peso 81,2 kg", diary=diary))
    assert len(diary.entries) == 1


async def test_a_journal_that_does_not_show_the_entry_yet_changes_nothing_said() -> None:
    class Slow(Diary):
        async def add_log(self, kind: Any, at: float, data: dict[str, object], key: str) -> None:
            self.keys.append(key)

    output = await run(TOOL, context("hoy peso 81,2 kg", diary=Slow()))
    assert output.facts["trend"]["last"]["kg"] == 81.2


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({}, "kg"),
        ({"kg": 24.9}, "kg"),
        ({"kg": 400.1}, "kg"),
        ({"kg": "80"}, "kg"),
        ({"kg": 80, "days_ago": -1}, "days_ago"),
        ({"kg": 80, "days_ago": 366}, "days_ago"),
    ],
)
async def test_nothing_is_stored_for_bad_arguments(arguments: dict[str, Any], field: str) -> None:
    diary = Diary()
    with pytest.raises(InvalidRequest) as refused:
        await TOOL.run(arguments, context("", diary=diary))
    assert refused.value.field == field
    assert diary.entries == []
