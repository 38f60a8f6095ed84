from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ngx_agents.agents.loader import TEAM_FOLDER, load_team
from ngx_agents.agents.template import Templates
from ngx_agents.agents.tools.registry import build_tools
from ngx_agents.errors import ConfigError

TOOLS = build_tools()
Break = Callable[[Path], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TEAM_FOLDER, tmp_path / "team"))


def replaced(path: str, old: str, new: str) -> Break:
    def change(folder: Path) -> None:
        text = (folder / path).read_text(encoding="utf-8")
        assert old in text
        (folder / path).write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


def removed(path: str) -> Break:
    return lambda folder: (folder / path).unlink()


def emptied(path: str) -> Break:
    return lambda folder: (folder / path).write_text(" \n")


def test_the_teams_own_content_is_whole() -> None:
    team = load_team(tools=TOOLS)
    assert set(team.specialists) == {
        "elite_training_strategist",
        "precision_nutrition_architect",
        "progress_tracker",
    }
    assert {tool for agent in team.agents for tool in agent.card.tools} == set(TOOLS)
    assert Templates(team.agents)


@pytest.mark.parametrize(
    ("breaks", "names"),
    [
        (removed("progress_tracker/reply.en.md.j2"), "progress_tracker/reply.en.md.j2"),
        (emptied("orchestrator/instructions.es.md"), "orchestrator/instructions.es.md"),
        (removed("progress_tracker/examples.toml"), "progress_tracker/examples.toml"),
        (replaced("progress_tracker/card.toml", "intent =", "intnet ="), "intnet"),
        (replaced("progress_tracker/card.toml", '"log_weight"', '"log_wait"'), "log_wait"),
        (replaced("progress_tracker/card.toml", 'id = "progress_tracker"', 'id = "tracker"'), "tracker"),
        (replaced("progress_tracker/card.toml", 'at_limit = "degrade"', 'at_limit = "panic"'), "at_limit"),
        (replaced("progress_tracker/card.toml", "progress_tracking", "training_request"), "training_request"),
        (replaced("progress_tracker/examples.toml", "skills.log_weight", "skills.log_wait"), "log_wait"),
        (replaced("routing.toml", "general_query = [", 'general_query = ["nobody", '), "nobody"),
        (replaced("routing.toml", 'only_alone = ["log_weight"]', 'only_alone = ["dance"]'), "dance"),
        (replaced("routing.toml", '["nutrition_query", "progress', '["sleep_query", "progress'), "sleep_query"),
        (replaced("routing.toml", "progress_tracking = [", "#"), "progress_tracking"),
        (replaced("routing.toml", 'fallback_reply = "fallback"', 'fallback_reply = "none"'), "none"),
        (removed("orchestrator/card.toml"), "orchestrator"),
        (removed("safety.toml"), "safety.toml"),
    ],
)
def test_broken_content_is_refused_and_named(folder: Path, breaks: Break, names: str) -> None:
    breaks(folder)
    with pytest.raises(ConfigError) as caught:
        load_team(folder, tools=TOOLS)
    assert names in str(caught.value)


def test_a_tool_that_does_not_exist_is_found_at_start() -> None:
    with pytest.raises(ConfigError, match="create_meal_plan"):
        load_team(tools=set(TOOLS) - {"create_meal_plan"})


def test_a_template_that_cannot_be_compiled_names_its_file_and_line(folder: Path) -> None:
    (folder / "progress_tracker" / "reply.en.md.j2").write_text("ok\n{% if %}")
    with pytest.raises(ConfigError, match=r"progress_tracker/reply\.en\.md\.j2: line 2"):
        Templates(load_team(folder, tools=TOOLS).agents)
