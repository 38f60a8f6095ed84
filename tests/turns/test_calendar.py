"""Local times on weekdays, around both changes of the clocks and in zones of every kind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ngx_agents.errors import InvalidRequest
from ngx_agents.turns.schedules.calendar import EVERY_DAY, Rule, missed, next_after

ZONES = (
    "Europe/Madrid", "America/New_York", "America/Mexico_City", "Asia/Kolkata", "Australia/Lord_Howe", "Asia/Kathmandu",
    "Pacific/Apia", "America/Sao_Paulo", "UTC",
)  # fmt: skip


def rule(at: str, *weekdays: int, zone: str = "Europe/Madrid") -> Rule:
    return Rule(at=at, weekdays=weekdays or EVERY_DAY, zone=zone)


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def shown(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="minutes").removesuffix("+00:00")


def times(of: Rule, since: str, count: int) -> list[str]:
    at_s, found = utc(since), []
    for _ in range(count):
        at_s = next_after(of, at_s)
        found.append(shown(at_s))
    return found


def test_the_next_time_is_later_today_or_on_the_next_of_its_days() -> None:
    assert times(rule("07:30"), "2026-11-24T05:00", 2) == ["2026-11-24T06:30", "2026-11-25T06:30"]
    assert times(rule("07:30"), "2026-11-24T06:30", 1) == ["2026-11-25T06:30"]
    assert times(rule("07:30", 1, 5), "2026-11-24T05:00", 3) == [
        "2026-11-27T06:30",
        "2026-11-30T06:30",
        "2026-12-04T06:30",
    ]
    assert times(rule("07:30", 2), "2026-11-24T06:30", 1) == ["2026-12-01T06:30"]


def test_a_local_time_moves_in_utc_with_the_clocks() -> None:
    assert times(rule("07:30"), "2027-03-27T00:00", 3) == ["2027-03-27T06:30", "2027-03-28T05:30", "2027-03-29T05:30"]
    assert times(rule("07:30"), "2027-10-30T00:00", 3) == ["2027-10-30T05:30", "2027-10-31T06:30", "2027-11-01T06:30"]


def test_a_time_that_the_clocks_skip_comes_once_an_hour_later() -> None:
    found = times(rule("02:30"), "2027-03-27T00:00", 3)
    assert found == ["2027-03-27T01:30", "2027-03-28T01:30", "2027-03-29T00:30"]
    local = datetime.fromtimestamp(utc(found[1]), ZoneInfo("Europe/Madrid"))
    assert (local.hour, local.minute) == (3, 30)


def test_a_time_that_comes_twice_counts_once_the_first_time() -> None:
    found = times(rule("02:30"), "2027-10-30T12:00", 2)
    assert found == ["2027-10-31T00:30", "2027-11-01T01:30"]
    between = next_after(rule("02:30"), utc("2027-10-31T00:45"))
    assert shown(between) == "2027-11-01T01:30"


def test_a_day_that_a_zone_left_out_has_no_time_of_its_own() -> None:
    assert times(rule("10:00", zone="Pacific/Apia"), "2011-12-29T12:00", 3) == [
        "2011-12-29T20:00", "2011-12-30T20:00", "2011-12-31T20:00",
    ]  # fmt: skip


def test_what_was_missed_is_the_last_time_and_how_many_before_it() -> None:
    daily = rule("07:30")
    first = utc("2026-11-24T06:30")
    assert missed(daily, since_s=first, now_s=first + 5) == (first, 0)
    assert missed(daily, since_s=first, now_s=utc("2026-11-27T12:00")) == (utc("2026-11-27T06:30"), 3)
    mondays = rule("07:30", 1)
    assert missed(mondays, since_s=utc("2026-11-23T06:30"), now_s=utc("2026-11-29T12:00"))[1] == 0
    last, before = missed(daily, since_s=first, now_s=first + 365 * 86_400 + 60)
    assert shown(last) == "2027-11-24T06:30"
    assert before == 365


def test_a_rule_that_was_changed_since_is_sent_for_what_was_seen() -> None:
    assert missed(rule("09:00"), since_s=utc("2026-11-24T06:30"), now_s=utc("2026-11-24T06:31")) == (
        utc("2026-11-24T06:30"), 0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"at": "7:30"}, "at"), ({"at": "24:00"}, "at"), ({"at": "07:60"}, "at"), ({"at": "07:30:00"}, "at"),
        ({"at": "０7:30"}, "at"), ({"weekdays": ()}, "weekdays"), ({"weekdays": (0,)}, "weekdays"),
        ({"weekdays": (8,)}, "weekdays"), ({"zone": ""}, "zone"), ({"zone": "Europe"}, "zone"),
        ({"zone": "Europe/Nowhere"}, "zone"), ({"zone": "../../etc/passwd"}, "zone"), ({"zone": "/etc/passwd"}, "zone"),
        ({"zone": "Europe/Madrid\x00"}, "zone"), ({"zone": "x" * 5000}, "zone"),
    ],
)  # fmt: skip
def test_what_is_no_rule_is_refused_and_named(changes: dict[str, object], field: str) -> None:
    values: dict[str, object] = {"at": "07:30", "weekdays": (1,), "zone": "Europe/Madrid"}
    with pytest.raises(InvalidRequest) as refused:
        Rule(**(values | changes)).check()  # type: ignore[arg-type]
    assert refused.value.field == field


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(ZONES), st.integers(0, 1439), st.sets(st.integers(1, 7), min_size=1),
    st.integers(1_600_000_000, 2_100_000_000),
)  # fmt: skip
def test_times_follow_each_other_and_each_day_has_at_most_one(
    zone: str, minute: int, weekdays: set[int], after_s: int
) -> None:
    of = Rule(at=f"{minute // 60:02}:{minute % 60:02}", weekdays=tuple(sorted(weekdays)), zone=zone)
    of.check()
    first = next_after(of, after_s)
    second = next_after(of, first)
    assert after_s < first < second
    assert first - after_s <= 8.1 * 86_400
    local = [datetime.fromtimestamp(at_s, ZoneInfo(zone)) for at_s in (first, second)]
    assert second - first >= timedelta(hours=22).total_seconds()
    for one in local:
        assert (one - timedelta(hours=2)).isoweekday() in weekdays or one.isoweekday() in weekdays
    assert missed(of, since_s=first, now_s=first) == (first, 0)
    assert missed(of, since_s=first, now_s=second) == (second, 1)
