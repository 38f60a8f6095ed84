import json

from ngx_agents.agents.loader import ORCHESTRATOR, load_team
from ngx_agents.agents.tools.registry import build_tools
from tests.cli.command import ngx_here


def test_every_agent_is_listed_with_both_names_and_its_skills(tmp_path):
    told = ngx_here("agents", cwd=tmp_path).stdout
    for agent in load_team(tools=build_tools()).agents:
        card = agent.card
        assert f"{card.id}\n  {card.name.es} · {card.name.en}\n" in told
        assert [skill.id for skill in card.skills if f"    {skill.id} " not in told] == []


def test_json_is_the_cards(tmp_path):
    cards = json.loads(ngx_here("agents", "--json", cwd=tmp_path).stdout)
    assert cards[0]["id"] == ORCHESTRATOR
    assert {"es", "en"} <= set(cards[0]["name"])
