"""A computed training plan in words: facts for the answer, data for the artifact, constraints for the team."""

from __future__ import annotations

from typing import Any

from ngx_agents.agents.tools.person import person_from
from ngx_agents.agents.tools.tool import Language, ToolContext, ToolOutput
from ngx_agents.agents.tools.training import strength
from ngx_agents.agents.tools.training.injuries import AREAS, is_severe, label, unrecognised
from ngx_agents.agents.tools.training.request import RUNNING, TrainingRequest, read_weeks
from ngx_agents.agents.tools.training.weeks_report import running_report, say, strength_report

SOURCES = {
    "common": (
        "ACSM 2009, doi:10.1249/MSS.0b013e3181915670",
        "Gabbett 2016, doi:10.1136/bjsports-2015-095788",
        "Bosquet 2007, doi:10.1249/mss.0b013e31806010e0",
    ),
    "run": ("ACSM 2011, doi:10.1249/MSS.0b013e318213fefb", "Seiler 2010, doi:10.1123/ijspp.5.3.276"),
    "strength": (
        "Schoenfeld 2017, doi:10.1080/02640414.2016.1210197",
        "Zourdos 2016, doi:10.1519/JSC.0000000000001049",
    ),
    "injury": (
        "Silbernagel 2007, doi:10.1177/0363546506298279",
        "Thomeé 1997, doi:10.1093/ptj/77.12.1690",
    ),
    "knee": ("Willy 2019, doi:10.2519/jospt.2019.0302",),
    "heart": ("Tanaka 2001, doi:10.1016/S0735-1097(00)01054-8",),
}


def plan_report(request: TrainingRequest, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
    """The output of the tool: an overview and the first week as facts, the whole plan as the artifact's data."""
    language = context.locale
    title = say(language, "title.run", weeks=request.weeks, goal=say(language, f"goal.{request.goal}"))
    overview = _overview(request, arguments, context, title)
    if request.goal in RUNNING:
        body, weeks = running_report(request, context)
    else:
        body, weeks = strength_report(request, language)
    constraints = _constraints(request, language)
    shared = {**overview, **body, "limits": list(constraints)}
    data = {**shared, "plan_name": title, "program_type": request.goal, "weeks_detail": weeks}
    return ToolOutput(
        facts={**shared, "first_week": weeks[0]}, kind="TrainingPlan", title=title, data=data, constraints=constraints
    )


def _overview(request: TrainingRequest, arguments: dict[str, Any], context: ToolContext, title: str) -> dict[str, Any]:
    language = context.locale
    return {
        "title": title,
        "goal": request.goal,
        "goal_name": say(language, f"goal.{request.goal}"),
        "duration_weeks": request.weeks,
        "sessions_per_week": _sessions(request),
        "level": say(language, f"level.{request.level}"),
        "equipment": _gear(request, language),
        "injuries": [
            {
                "name": label(injury, language),
                "area": injury.area,
                "side": injury.side,
                "pain": injury.pain,
                "limit": AREAS[injury.area].limit[language],
                "advice": None if is_severe(injury) else AREAS[injury.area].advice[language],
            }
            for injury in request.injuries
        ],
        "assumptions": _assumptions(request, arguments, context),
        "rules": _rules(request, language),
        "sources": _sources(request, context),
    }


def _sessions(request: TrainingRequest) -> int:
    return request.sessions if request.goal in RUNNING else len(strength.training_days(request))


def _gear(request: TrainingRequest, language: Language) -> list[str]:
    return [say(language, f"gear.{item}") for item in strength.gear_of(request)] or [say(language, "gear.none")]


def _assumptions(request: TrainingRequest, arguments: dict[str, Any], context: ToolContext) -> list[str]:
    language = context.locale
    asked = read_weeks(context.text)
    made = []
    if "goal" not in arguments:
        made.append(say(language, "assumed.goal"))
    if asked is not None and asked != request.weeks:
        made.append(say(language, "assumed.clamped", asked=asked))
    elif "duration_weeks" not in arguments:
        made.append(say(language, "assumed.weeks", weeks=request.weeks))
    if _sessions(request) < request.sessions:
        made.append(say(language, "assumed.fewer", sessions=_sessions(request), asked=request.sessions))
    elif "sessions_per_week" not in arguments:
        made.append(say(language, "assumed.sessions", sessions=request.sessions))
    if request.level_assumed:
        made.append(say(language, "assumed.level"))
    if request.gear is None and request.goal not in RUNNING:
        made.append(say(language, "assumed.gym" if strength.gear_of(request) else "assumed.bodyweight"))
    made += [say(language, "assumed.unknown_injury", injury=item) for item in unrecognised(context.profile.injuries)]
    return made


def _rules(request: TrainingRequest, language: Language) -> list[str]:
    rules = [say(language, "rule.progress")]
    if request.goal not in RUNNING:
        rules.append(say(language, "rule.load_choice"))
    if request.goal == "general_fitness":
        rules.append(say(language, "rule.aerobic"))
    rules.append(say(language, "rule.sleep"))
    if not all(is_severe(injury) for injury in request.injuries):
        rules.append(say(language, "rule.pain"))
    if request.injuries:
        rules.append(say(language, "rule.refer"))
    rules += [
        say(language, "rule.refer_now", pain=injury.pain, area=label(injury, language))
        for injury in request.injuries
        if is_severe(injury)
    ]
    return [*rules, say(language, "rule.careful")] if request.careful else rules


def _sources(request: TrainingRequest, context: ToolContext) -> list[str]:
    runs = request.goal in RUNNING
    sources = [*SOURCES["common"], *SOURCES["run" if runs else "strength"]]
    if request.injuries:
        sources += SOURCES["injury"]
    if any(injury.area == "knee" for injury in request.injuries):
        sources += SOURCES["knee"]
    if runs and person_from(context.text, context.profile).age is not None:
        sources += SOURCES["heart"]
    return sources


def _constraints(request: TrainingRequest, language: Language) -> tuple[str, ...]:
    made = []
    for injury in request.injuries:
        area = label(injury, language)
        made.append(say(language, "constraint.injury", area=area, limit=AREAS[injury.area].limit[language]))
        if is_severe(injury):
            made.append(say(language, "constraint.refer", pain=injury.pain, area=area))
    if request.careful:
        made.append(say(language, "constraint.careful"))
    return tuple(made)
