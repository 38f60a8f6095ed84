"""generate_training_plan: a periodised plan of running, strength or general fitness that respects injuries.

The numbers come from `training.running` and `training.strength`; this file checks the arguments and says the result
in the user's language. Sources are those of the modules that compute, given along in `data["sources"]`.
"""

from __future__ import annotations

from typing import Any

from ngx_agents.agents.tools.tool import ToolContext, ToolOutput
from ngx_agents.agents.tools.training.exercises import GEAR, LEVELS
from ngx_agents.agents.tools.training.injuries import AREAS
from ngx_agents.agents.tools.training.report import plan_report
from ngx_agents.agents.tools.training.request import GOALS, SESSIONS, WEEKS, arguments_from, request_from
from ngx_agents.vertex.content import ToolDeclaration

DECLARATION = ToolDeclaration(
    name="generate_training_plan",
    description=(
        "Crea un plan de entrenamiento periodizado (carrera, fuerza, masa muscular o forma general) que respeta las "
        "lesiones. / Makes a periodised training plan (running, strength, muscle or general) that respects injuries."
    ),
    parameters={
        "type": "object",
        "properties": {
            "goal": {"type": "string", "enum": list(GOALS)},
            "duration_weeks": {"type": "integer", "minimum": WEEKS[0], "maximum": WEEKS[1]},
            "sessions_per_week": {"type": "integer", "minimum": SESSIONS[0], "maximum": SESSIONS[1]},
            "level": {"type": "string", "enum": list(LEVELS)},
            "equipment": {"type": "array", "items": {"type": "string", "enum": list(GEAR)}},
            "injuries": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "area": {"type": "string", "enum": list(AREAS)},
                        "side": {"type": "string", "enum": ["left", "right", "both"]},
                        "pain": {"type": "integer", "minimum": 0, "maximum": 10},
                    },
                    "required": ["area"],
                },
            },
        },
        "required": ["goal"],
    },
)


class TrainingPlan:
    """The tool. Its facts hold the overview and the first week; the artifact holds every session."""

    declaration = DECLARATION
    skill = "generate_training_plan"

    def arguments_from(self, context: ToolContext) -> dict[str, Any]:
        """What text and profile say of goal, duration, sessions, level, equipment and injuries."""
        return arguments_from(context.text, context.profile, context.earlier)

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        """The plan. Raises InvalidRequest naming the argument at fault."""
        request = request_from(arguments, context.text, context.profile, context.earlier)
        return plan_report(request, arguments, context)
