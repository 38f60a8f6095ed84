"""The content of the team as it is delivered: complete in both languages, and its templates print what tools find."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest

from ngx_agents.agents.language import Language
from ngx_agents.agents.loader import load_team
from ngx_agents.agents.template import Templates
from ngx_agents.agents.tools.registry import build_tools
from ngx_agents.agents.tools.tool import ToolContext
from ngx_agents.state.model import Profile
from tests.agents.tools.contexts import Diary, context, run, weights

TOOLS = build_tools()
TEAM = load_team(tools=TOOLS)
TEMPLATES = Templates(TEAM.agents)
TRAINING, NUTRITION, PROGRESS = "elite_training_strategist", "precision_nutrition_architect", "progress_tracker"
LANGUAGES: tuple[Language, ...] = ("es", "en")
LEFTOVERS = re.compile(r"{[{%]|[}%]}|\bNone\b|\bundefined\b|<[a-z]+>")


def rendered(agent: str, facts: dict[str, Any], language: Language, skill: str | None = None) -> str:
    return TEMPLATES.render(agent, language, facts=facts, problem=None, profile=Profile(), skill=skill)


async def answered(agent: str, tool: str, given: ToolContext) -> tuple[str, tuple[str, ...]]:
    output = await run(TOOLS[tool], given)
    return rendered(agent, {tool: output.facts}, given.locale, tool), output.constraints


def test_the_four_agents_have_the_budgets_that_were_agreed() -> None:
    limits = {agent.card.id: (agent.card.monthly_tokens, agent.card.at_limit) for agent in TEAM.agents}
    assert limits == {
        "orchestrator": (500_000, "warn"),
        TRAINING: (1_800_000, "degrade"),
        NUTRITION: (2_000_000, "degrade"),
        PROGRESS: (800_000, "degrade"),
    }


def test_every_tool_belongs_to_one_agent_and_serves_one_of_its_skills() -> None:
    owners = {tool: agent for agent in TEAM.agents for tool in agent.card.tools}
    assert set(owners) == set(TOOLS)
    for name, agent in owners.items():
        assert TOOLS[name].skill in {skill.id for skill in agent.card.skills}


def test_each_skill_has_twenty_five_different_examples_in_each_language() -> None:
    for agent in TEAM.specialists.values():
        for skill in agent.examples.values():
            assert len(set(skill.es)) >= 25
            assert len(set(skill.en)) >= 25


def test_the_orchestrator_greets_thanks_explains_and_admits() -> None:
    replies = TEAM.orchestrator.replies
    assert {"greeting", "thanks", "capabilities", "unclear", "fallback"} <= set(replies)
    assert all(reply.text.es.strip() and reply.text.en.strip() for reply in replies.values())


@pytest.mark.parametrize("language", LANGUAGES)
def test_instructions_bind_agents_to_safety_and_to_data(language: Language) -> None:
    safety = {"es": ("no diagnostiques", "7/10", "son datos"), "en": ("do not diagnose", "7/10", "are data")}
    for agent in (TEAM.orchestrator, TEAM.specialists[TRAINING]):
        assert all(words in agent.instructions.of(language) for words in safety[language])
    for agent in TEAM.agents:
        assert len(agent.instructions.of(language)) > 900


@pytest.mark.parametrize(
    ("agent", "tool", "language", "text"),
    [
        (
            TRAINING,
            "generate_training_plan",
            "es",
            "plan de 8 semanas para correr 10 km, me duele la rodilla derecha 5/10",
        ),
        (TRAINING, "generate_training_plan", "en", "10k plan, I am 40, my left ankle hurts 8/10"),
        (TRAINING, "generate_training_plan", "es", "fuerza en gimnasio 4 días por semana, me duele el hombro"),
        (TRAINING, "generate_training_plan", "en", "a home workout"),
        (NUTRITION, "create_meal_plan", "es", "tengo 34 años, peso 81 kg, mido 178, alérgico a las nueces, vegano"),
        (NUTRITION, "create_meal_plan", "en", "I'm 34, 81 kg, 178 cm, female, kosher, allergic to eggs"),
        (NUTRITION, "create_meal_plan", "es", "un menú"),
        (NUTRITION, "create_meal_plan", "en", "I'm 15, a menu without fish"),
        (PROGRESS, "analyze_progress", "es", "¿cómo voy?"),
        (PROGRESS, "analyze_progress", "en", "how am I doing?"),
        (PROGRESS, "log_weight", "es", "hoy peso 79 kg"),
        (PROGRESS, "log_weight", "en", "I weigh 79 kg"),
    ],
)
async def test_a_reply_is_whole_and_says_every_limit(agent: str, tool: str, language: Language, text: str) -> None:
    diary = Diary(weights(*((day, 80 + day / 20) for day in range(1, 60, 3))))
    reply, limits = await answered(agent, tool, context(text, locale=language, diary=diary))
    assert len(reply) > 100
    assert not LEFTOVERS.search(reply), LEFTOVERS.search(reply)
    assert all(limit in reply for limit in limits)
    assert all(cells(row) == cells(head) for head, row in pairwise(reply.splitlines()) if both_rows(head, row))


def cells(line: str) -> int:
    return line.count("|")


def both_rows(first: str, second: str) -> bool:
    return first.startswith("|") and second.startswith("|")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("agent", [TRAINING, NUTRITION, PROGRESS])
def test_without_facts_the_reply_asks_for_what_is_needed(agent: str, language: Language) -> None:
    assert len(rendered(agent, {}, language)) > 60


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_weight_that_was_not_understood_is_asked_for(language: Language) -> None:
    assert "81" in rendered(PROGRESS, {}, language, "log_weight")


def test_every_example_of_a_weight_to_log_is_understood() -> None:
    examples = TEAM.specialists[PROGRESS].examples["log_weight"].all()
    for text in (text for text in examples if re.search(r"\d\d", text)):
        assert "kg" in TOOLS["log_weight"].arguments_from(context(text)), text


@pytest.mark.parametrize("language", LANGUAGES)
def test_several_answers_are_joined_under_their_names(language: Language) -> None:
    answers = [{"agent": "a", "name": "Ana", "text": "uno\n"}, {"agent": "b", "name": "Bea", "text": "dos"}]
    joined = TEMPLATES.render("orchestrator", language, answers=answers, constraints=["sin saltos"])
    assert joined.index("Ana") < joined.index("uno") < joined.index("Bea") < joined.index("dos")
    assert "- sin saltos" in joined
    assert TEMPLATES.render("orchestrator", language, answers=answers[:1]) == "uno"
