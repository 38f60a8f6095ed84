"""create_meal_plan: a day of meals that meets the user's energy and protein and leaves out what they may not eat.

Without weight, height or age it asks for them and gives guidance per kilo: nothing about the user is made up.
"""

from __future__ import annotations

from typing import Any

from ngx_agents.agents.tools.nutrition.exclusions import ALLERGENS, DIETS
from ngx_agents.agents.tools.nutrition.report import meal_report
from ngx_agents.agents.tools.nutrition.request import GOALS, MEALS_BOUNDS, arguments_from, request_from
from ngx_agents.agents.tools.tool import ToolContext, ToolOutput
from ngx_agents.vertex.content import ToolDeclaration

DECLARATION = ToolDeclaration(
    name="create_meal_plan",
    description=(
        "Calcula energía y macronutrientes y arma un menú con porciones sin los alérgenos del usuario. Peso, estatura, "
        "edad y alergias se leen del perfil y del mensaje. / Works out energy and macros and builds a menu with "
        "portions without the user's allergens. Weight, height, age and allergies are read from profile and message."
    ),
    parameters={
        "type": "object",
        "properties": {
            "goal": {"type": "string", "enum": list(GOALS)},
            "meals_per_day": {"type": "integer", "minimum": MEALS_BOUNDS[0], "maximum": MEALS_BOUNDS[1]},
            "allergies": {
                "type": "array",
                "items": {"type": "string"},
                "description": f"{', '.join(ALLERGENS)}, or a food by name",
            },
            "restrictions": {
                "type": "array",
                "items": {"type": "string"},
                "description": f"{', '.join(DIETS)}, or a food by name",
            },
        },
    },
)


class MealPlan:
    """The tool. Its facts hold the target and one day; the artifact holds three days."""

    declaration = DECLARATION
    skill = "create_meal_plan"

    def arguments_from(self, context: ToolContext) -> dict[str, Any]:
        """Goal, meals a day and exclusions, as text and profile say them."""
        return arguments_from(context.text, context.profile, context.earlier)

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        """The plan. Raises InvalidRequest naming the argument at fault."""
        complete = self.arguments_from(context) | {
            name: value for name, value in arguments.items() if value is not None
        }
        request = request_from(complete, context.text, context.profile, context.earlier)
        return meal_report(request, context.locale)
