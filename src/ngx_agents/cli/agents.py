"""`ngx agents`: who is in the team that this program serves, and what each can do."""

from __future__ import annotations

import argparse

import msgspec

from ngx_agents.agents.cards import AgentCard
from ngx_agents.agents.loader import load_team
from ngx_agents.agents.tools.registry import build_tools

DETAILS = """\
Reads the team's own content, without a server. The ids are what `ngx chat --agent` and the API take.

examples:
  ngx agents                                 names in both languages, descriptions, skills
  ngx agents --json | jq '.[].id'            for scripts
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the agents' cards as JSON")


def run(args: argparse.Namespace) -> int:
    cards = [agent.card for agent in load_team(tools=build_tools()).agents]
    if args.json:
        print(msgspec.json.format(msgspec.json.encode(cards), indent=2).decode())
    else:
        print("\n\n".join(_paragraph(card) for card in cards))
    return 0


def _paragraph(card: AgentCard) -> str:
    lines = [card.id, f"  {card.name.es} · {card.name.en}", f"  {card.description.es}", f"  {card.description.en}"]
    width = max((len(skill.id) for skill in card.skills), default=0)
    lines += [f"    {skill.id.ljust(width)}  {skill.name.es} · {skill.name.en}" for skill in card.skills]
    return "\n".join(lines)
