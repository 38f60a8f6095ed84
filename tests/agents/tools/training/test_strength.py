from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.agents.tools.training.exercises import CATALOGUE, GEAR, LEVELS, Level, choose
from ngx_agents.agents.tools.training.injuries import AREAS, Injury, forbidden_stress, is_severe
from ngx_agents.agents.tools.training.request import GYM, Goal, TrainingRequest
from ngx_agents.agents.tools.training.strength import (
    runner_circuit,
    sets_per_muscle,
    strength_weeks,
    support_work,
)
from tests.agents.tools.contexts import QUICK

from .test_running import INJURIES

REQUESTS = st.builds(
    TrainingRequest,
    goal=st.sampled_from(["strength", "hypertrophy", "general_fitness"]),
    weeks=st.integers(4, 24),
    sessions=st.integers(2, 6),
    level=st.sampled_from(LEVELS),
    level_assumed=st.just(False),
    gear=st.one_of(st.none(), st.lists(st.sampled_from(GEAR), unique=True).map(tuple)),
    injuries=INJURIES,
    careful=st.booleans(),
)


def request(
    *injuries: Injury, goal: Goal = "strength", level: Level = "intermediate", sessions: int = 4
) -> TrainingRequest:
    return TrainingRequest(
        goal=goal, weeks=12, sessions=sessions, level=level, level_assumed=False, gear=GYM, injuries=injuries
    )


@QUICK
@given(REQUESTS)
def test_no_exercise_loads_what_an_injury_forbids(asked: TrainingRequest) -> None:
    forbidden = forbidden_stress(asked.injuries)
    work = [item for week in strength_weeks(asked) for session in week.sessions for item in session.work]
    for exercise in (*(item.exercise for item in work), *support_work(asked), *runner_circuit(asked)):
        assert not set(exercise.stress) & forbidden


@QUICK
@given(REQUESTS)
def test_strong_pain_rests_the_areas_patterns(asked: TrainingRequest) -> None:
    rested = {pattern for injury in asked.injuries if is_severe(injury) for pattern in AREAS[injury.area].rest}
    for week in strength_weeks(asked):
        assert not {item.exercise.pattern for session in week.sessions for item in session.work} & rested


@QUICK
@given(REQUESTS)
def test_every_session_has_work_and_the_sets_add_up_to_the_load(asked: TrainingRequest) -> None:
    for week in strength_weeks(asked):
        assert len(week.sessions) >= 2
        assert sum(item.sets for session in week.sessions for item in session.work) == week.week.load
        for session in week.sessions:
            assert session.work
            ids = [item.exercise.id for item in session.work]
            assert len(ids) == len(set(ids))
            assert all(1 <= item.sets <= 6 for item in session.work)


@QUICK
@given(REQUESTS)
def test_only_the_stated_gear_and_level_are_used(asked: TrainingRequest) -> None:
    if asked.gear is None:
        return
    for session in strength_weeks(asked)[0].sessions:
        for item in session.work:
            assert not item.exercise.gear or set(item.exercise.gear) & set(asked.gear)
            assert LEVELS.index(item.exercise.level) <= LEVELS.index(asked.level)


def test_strength_gets_heavier_with_fewer_sets_at_the_peak() -> None:
    weeks = strength_weeks(request())
    squat = {
        week.week.phase: item.effort.percent
        for week in weeks
        for session in week.sessions
        for item in session.work
        if item.exercise.id == "barbell_squat"
    }
    assert squat == {"base": "65–72", "build": "75–82", "peak": "85–90", "taper": "75–80"}
    build = max(week.week.load for week in weeks if week.week.phase == "build")
    assert all(week.week.load < build for week in weeks if week.week.phase in ("peak", "taper"))


def test_beginners_and_the_injured_never_lift_at_ninety_per_cent() -> None:
    for asked in (request(level="beginner"), request(Injury(area="wrist"))):
        percents = {i.effort.percent for w in strength_weeks(asked) for s in w.sessions for i in s.work}
        assert "85–90" not in percents


def test_weekly_sets_of_the_big_muscles_stay_in_the_productive_range() -> None:
    weeks = strength_weeks(request(goal="hypertrophy", sessions=4))
    growing = [sets_per_muscle(week) for week in weeks if not week.week.deload and week.week.phase != "taper"]
    for sets in growing:
        assert 4 <= sets["chest"] <= 20
        assert 6 <= sets["back"] <= 22
        assert 6 <= sets["quads"] <= 22


def test_a_helper_counts_half_a_set() -> None:
    week = strength_weeks(request(goal="hypertrophy"))[0]
    work = [item for session in week.sessions for item in session.work]
    chest = sum(item.sets for item in work if "chest" in item.exercise.muscles)
    alone = sum(item.sets for item in work if "triceps" in item.exercise.muscles)
    helping = sum(item.sets for item in work if "triceps" in item.exercise.helpers)
    assert sets_per_muscle(week)["chest"] == chest
    assert sets_per_muscle(week)["triceps"] == alone + helping / 2


def test_a_sore_shoulder_swaps_the_bench_press() -> None:
    usual = choose("push", gear=GYM, level="intermediate", forbidden=())
    swapped = choose("push", gear=GYM, level="intermediate", forbidden=forbidden_stress([Injury(area="shoulder")]))
    assert usual is CATALOGUE["bench_press"]
    assert swapped is CATALOGUE["floor_press"]


def test_knee_support_strengthens_hip_and_quadriceps() -> None:
    muscles = {muscle for exercise in support_work(request(Injury(area="knee"))) for muscle in exercise.muscles}
    assert {"quads", "glutes"} <= muscles
