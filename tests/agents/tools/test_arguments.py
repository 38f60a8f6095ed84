from __future__ import annotations

from typing import Any

import pytest

from ngx_agents.agents.tools.arguments import choice, integer, number, strings
from ngx_agents.errors import InvalidRequest


def test_absent_arguments_are_none() -> None:
    assert number({}, "x", 0, 1) is None
    assert integer({}, "x", 0, 1) is None
    assert choice({}, "x", ("a",)) is None
    assert strings({}, "x") == ()


def test_a_whole_float_counts_as_an_integer() -> None:
    assert integer({"x": 8.0}, "x", 4, 24) == 8


@pytest.mark.parametrize("value", [3, 25, "8", True, 8.5, float("nan"), [8]])
def test_what_is_no_integer_in_bounds_is_refused_by_name(value: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        integer({"weeks": value}, "weeks", 4, 24)
    assert refused.value.field == "weeks"


@pytest.mark.parametrize("value", ["nuts", ["a"] * 31, ["a" * 121], [1]])
def test_what_is_no_short_list_of_strings_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest):
        strings({"allergies": value}, "allergies")


def test_a_choice_outside_the_list_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        choice({"goal": "fly"}, "goal", ("run",))
