"""Where data may go."""

from __future__ import annotations

import pytest

from ngx_agents.vertex.ladder.residency import may_go, stricter


@pytest.mark.parametrize("location", ["eu", "europe-west1", "europe-north1", "local"])
def test_eu_only_data_stays_in_europe(location: str) -> None:
    assert may_go(location, "eu")


@pytest.mark.parametrize(
    "location", ["global", "us", "us-central1", "asia-east1", "euro", "", "eu-west1", "us-europe-x"]
)
def test_eu_only_data_goes_nowhere_else(location: str) -> None:
    assert not may_go(location, "eu")


def test_global_may_be_anywhere_so_only_any_may_use_it() -> None:
    assert may_go("global", "any")
    assert not may_go("global", "us")


def test_the_stricter_of_two_rules_holds() -> None:
    assert stricter("any", "eu") == "eu"
    assert stricter("eu", None) == "eu"
    assert stricter("eu", "any") == "eu"
    assert stricter("us", "us") == "us"


def test_rules_that_contradict_leave_nothing() -> None:
    assert stricter("eu", "us") is None
