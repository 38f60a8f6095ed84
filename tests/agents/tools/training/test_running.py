from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.agents.tools.training.exercises import LEVELS, Level
from ngx_agents.agents.tools.training.injuries import AREAS, Injury
from ngx_agents.agents.tools.training.request import RUNNING, Goal, TrainingRequest
from ngx_agents.agents.tools.training.running import (
    ZONES,
    is_reachable,
    leg_injuries,
    longest_run_min,
    running_weeks,
    weeks_needed,
)
from tests.agents.tools.contexts import QUICK

INJURIES = st.lists(
    st.builds(
        Injury,
        area=st.sampled_from(sorted(AREAS)),
        side=st.sampled_from([None, "left", "right", "both"]),
        pain=st.one_of(st.none(), st.integers(0, 10)),
    ),
    max_size=3,
    unique_by=lambda injury: injury.area,
).map(tuple)
REQUESTS = st.builds(
    TrainingRequest,
    goal=st.sampled_from(sorted(RUNNING)),
    weeks=st.integers(4, 24),
    sessions=st.integers(2, 6),
    level=st.sampled_from(LEVELS),
    level_assumed=st.just(False),
    gear=st.none(),
    injuries=INJURIES,
    careful=st.booleans(),
)


def request(
    *injuries: Injury, weeks: int = 8, sessions: int = 4, goal: Goal = "run_10k", level: Level = "intermediate"
) -> TrainingRequest:
    return TrainingRequest(
        goal=goal, weeks=weeks, sessions=sessions, level=level, level_assumed=False, gear=None, injuries=injuries
    )


def kinds(asked: TrainingRequest, *weeks: int) -> set[str]:
    plan = running_weeks(asked)
    return {session.kind for week in plan if not weeks or week.week.number in weeks for session in week.sessions}


@QUICK
@given(REQUESTS)
def test_the_sessions_of_a_week_add_up_to_its_load_in_steps_of_five(asked: TrainingRequest) -> None:
    for week in running_weeks(asked):
        counted = [session.minutes for session in week.sessions if session.counts]
        assert sum(counted) == week.week.load
        assert all(minutes > 0 and minutes % 5 == 0 for minutes in counted)
        assert len(week.sessions) == asked.sessions
        assert len({session.day for session in week.sessions}) == asked.sessions


@QUICK
@given(REQUESTS)
def test_strong_pain_takes_running_out_altogether(asked: TrainingRequest) -> None:
    worst = max((injury.pain or 0 for injury in asked.injuries), default=0)
    if worst >= 7:
        assert kinds(asked) <= {"cross", "strength"}
    else:
        assert "goal" in kinds(asked, asked.weeks)


@QUICK
@given(REQUESTS)
def test_injured_legs_never_do_intervals_and_start_low(asked: TrainingRequest) -> None:
    if leg_injuries(asked.injuries):
        assert "intervals" not in kinds(asked)
        assert kinds(asked, 1, 2) <= {"walk_run", "cross", "strength"}


@QUICK
@given(REQUESTS)
def test_a_careful_plan_has_no_hard_effort_but_the_goal_day(asked: TrainingRequest) -> None:
    if asked.careful:
        assert not kinds(asked) & {"tempo", "intervals", "race_pace"}


def test_most_of_the_time_is_easy() -> None:
    plan = running_weeks(request(weeks=12, sessions=5))
    sessions = [session for week in plan for session in week.sessions if session.counts]
    hard = sum(s.minutes for s in sessions if ZONES[s.kind][0] >= 80)
    assert hard <= 0.3 * sum(s.minutes for s in sessions)


def test_a_sore_knee_starts_with_less_than_a_sound_one() -> None:
    sound = running_weeks(request())[0].week.load
    assert running_weeks(request(Injury(area="knee")))[0].week.load < sound
    assert running_weeks(request(Injury(area="wrist")))[0].week.load == sound


def test_moderate_knee_pain_postpones_running_two_weeks() -> None:
    asked = request(Injury(area="knee", pain=5))
    assert kinds(asked, 1, 2) == {"cross", "strength"}
    assert "walk_run" in kinds(asked, 3)


def test_walk_run_shifts_from_walking_to_running() -> None:
    plan = running_weeks(request(Injury(area="knee"), level="beginner"))
    steps = [s.alternate for week in plan for s in week.sessions if s.kind == "walk_run"]
    assert [run / walk for run, walk in steps] == sorted(run / walk for run, walk in steps)
    assert steps[0] == (1, 2)


def test_a_marathon_in_eight_weeks_is_said_to_be_too_soon() -> None:
    hurried = request(goal="run_marathon", weeks=8)
    assert not is_reachable(hurried, running_weeks(hurried))
    easy = request(goal="run_5k", weeks=8)
    assert is_reachable(easy, running_weeks(easy))


def test_the_weeks_needed_are_enough() -> None:
    hurried = request(goal="run_10k", weeks=4, level="beginner", sessions=3)
    needed = weeks_needed(hurried)
    assert needed is not None
    longer = request(goal="run_10k", weeks=needed, level="beginner", sessions=3)
    assert longest_run_min(running_weeks(longer)) > longest_run_min(running_weeks(hurried))
    assert is_reachable(longer, running_weeks(longer))
