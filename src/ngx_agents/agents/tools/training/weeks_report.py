"""The weeks of a plan in words: one row per week, every session, the phases, what stands in for what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ngx_agents.agents.tools.person import person_from
from ngx_agents.agents.tools.tool import Language, ToolContext
from ngx_agents.agents.tools.training import running, strength
from ngx_agents.agents.tools.training.exercises import Exercise, substitutions
from ngx_agents.agents.tools.training.injuries import forbidden_stress
from ngx_agents.agents.tools.training.load import Week
from ngx_agents.agents.tools.training.request import TrainingRequest
from ngx_agents.agents.tools.wording import load_wording

WORDING = load_wording("training/wording.toml")
say = WORDING.say


def running_report(request: TrainingRequest, context: ToolContext) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    language = context.locale
    age = person_from(context.text, context.profile).age
    weeks = running.running_weeks(request)
    details = [
        {
            **_week_head(week.week, language),
            "minutes": week.week.load,
            "sessions": [_run_session(session, age, language) for session in week.sessions],
        }
        for week in weeks
    ]
    body = {
        "discipline": "running",
        "weeks": [_run_row(week, detail) for week, detail in zip(weeks, details, strict=True)],
        "phases": _phases([week.week.phase for week in weeks], "run", language),
        "reach": _reach(request, weeks, language),
        "circuit": [_circuit_item(exercise, language) for exercise in strength.runner_circuit(request)],
    }
    return body, details


def _run_row(week: running.RunningWeek, detail: dict[str, Any]) -> dict[str, Any]:
    runs = [session for session in week.sessions if session.km is not None and session.counts]
    longest = max((session.minutes for session in runs), default=0)
    km = sum(session.km or 0 for session in runs)
    row = {key: detail[key] for key in ("week", "phase", "deload", "minutes")}
    return {**row, "km": round(km, 1), "longest_min": longest, "key": detail["sessions"][-1]["name"]}


def _run_session(session: running.Session, age: int | None, language: Language) -> dict[str, Any]:
    low, high, rpe = running.ZONES[session.kind]
    intensity: dict[str, Any] = {"rpe": rpe}
    if high:
        intensity["percent_hr_max"] = f"{low}–{high}"
    if high and age is not None:
        hr_max = 208 - 0.7 * age
        intensity["bpm"] = f"{round(hr_max * low / 100)}–{round(hr_max * high / 100)}"
    values = {"km": session.km} if session.kind == "goal" else {}
    return {
        "day": say(language, f"day.{session.day}"),
        "name": say(language, f"session.{session.kind}", **values),
        "kind": session.kind,
        "minutes": session.minutes,
        "km": session.km,
        "how": say(language, f"how.{session.kind}", run=session.alternate[0], walk=session.alternate[1]),
        **intensity,
    }


def strength_report(request: TrainingRequest, language: Language) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Facts of the plan, and every week in detail."""
    weeks = strength.strength_weeks(request)
    details = [
        {
            **_week_head(week.week, language),
            "sets": week.week.load,
            "sets_per_muscle": {
                say(language, f"muscle.{muscle}"): sets for muscle, sets in strength.sets_per_muscle(week).items()
            },
            "sessions": [_strength_session(session, language) for session in week.sessions],
        }
        for week in weeks
    ]
    kept = ("week", "phase", "deload", "sets")
    body = {
        "discipline": "strength",
        "weeks": [
            _strength_row(week, {key: detail[key] for key in kept}) for week, detail in zip(weeks, details, strict=True)
        ],
        "phases": _phases([week.week.phase for week in weeks], "strength", language),
        "swaps": _swaps(request, language),
        "circuit": [_circuit_item(exercise, language) for exercise in strength.support_work(request)],
    }
    return body, details


def _strength_row(week: strength.StrengthWeek, row: dict[str, Any]) -> dict[str, Any]:
    work = [item for session in week.sessions for item in session.work]
    main = max(work, key=lambda item: (item.effort.percent is not None, item.effort.rest_s))
    return {**row, "reps": main.effort.reps, "rir": main.effort.rir, "percent": main.effort.percent}


def _strength_session(session: strength.StrengthSession, language: Language) -> dict[str, Any]:
    return {
        "day": say(language, f"day.{session.day}"),
        "name": say(language, f"focus.{session.focus}"),
        "exercises": [
            {
                "name": item.exercise.name[language],
                "id": item.exercise.id,
                "sets": item.sets,
                "reps": item.effort.reps,
                "rir": item.effort.rir,
                "percent_1rm": item.effort.percent,
                "rest_s": item.effort.rest_s,
            }
            for item in session.work
        ],
    }


def _swaps(request: TrainingRequest, language: Language) -> list[dict[str, str | None]]:
    if not request.injuries:
        return []
    patterns = dict.fromkeys(pattern for _, _, menu in strength.training_days(request) for pattern in menu)
    changed = substitutions(
        patterns, gear=strength.gear_of(request), level=request.level, forbidden=forbidden_stress(request.injuries)
    )
    return [{"instead_of": old.name[language], "do": new.name[language] if new else None} for old, new in changed]


def _week_head(week: Week, language: Language) -> dict[str, Any]:
    return {"week": week.number, "phase": say(language, f"phase.{week.phase}"), "deload": week.deload}


def _phases(phases: Sequence[str], discipline: str, language: Language) -> list[dict[str, Any]]:
    return [
        {
            "name": say(language, f"phase.{phase}"),
            "from_week": phases.index(phase) + 1,
            "to_week": phases.index(phase) + phases.count(phase),
            "aim": say(language, f"phase_aim.{discipline}_{phase}"),
        }
        for phase in dict.fromkeys(phases)
    ]


def _circuit_item(exercise: Exercise, language: Language) -> dict[str, Any]:
    dose = f"2 × {exercise.seconds} s" if exercise.seconds is not None else "2–3 × 10–12"
    return {"name": exercise.name[language], "dose": dose}


def _reach(request: TrainingRequest, weeks: tuple[running.RunningWeek, ...], language: Language) -> str:
    if running.easing_of(request).never:
        return say(language, "reach.none")
    minutes = running.longest_run_min(weeks)
    if running.is_reachable(request, weeks):
        return say(language, "reach.yes", minutes=minutes)
    needed = running.weeks_needed(request)
    if needed is None:
        return say(language, "reach.far", minutes=minutes)
    return say(language, "reach.later", weeks=request.weeks, minutes=minutes, needed=needed)
