"""All tools of the team, by name."""

from __future__ import annotations

from ngx_agents.agents.tools.log_weight import LogWeight
from ngx_agents.agents.tools.meal_plan import MealPlan
from ngx_agents.agents.tools.progress import Progress
from ngx_agents.agents.tools.tool import Tool
from ngx_agents.agents.tools.training_plan import TrainingPlan


def build_tools() -> dict[str, Tool]:
    """Every tool under the name it declares."""
    tools: tuple[Tool, ...] = (TrainingPlan(), MealPlan(), Progress(), LogWeight())
    return {tool.declaration.name: tool for tool in tools}
