"""analyze_progress: what the user's own logged weights say, and a chart of them.

Every figure comes from stored entries; with too few the tool says so and gives none.
"""

from __future__ import annotations

from typing import Any, get_args

from ngx_agents.agents.tools.arguments import choice
from ngx_agents.agents.tools.reading import fold, has_word, numbered, words
from ngx_agents.agents.tools.tool import ToolContext, ToolOutput
from ngx_agents.agents.tools.weight.report import PERIOD_DAYS, SOURCES, Period, chart_of, say, trend_facts
from ngx_agents.agents.tools.weight.trend import DAY_S, points_of
from ngx_agents.state.model import LogKind
from ngx_agents.vertex.content import ToolDeclaration

PERIODS: tuple[Period, ...] = get_args(Period)
DEFAULT_PERIOD: Period = "last_3_months"

DECLARATION = ToolDeclaration(
    name="analyze_progress",
    description=(
        "Analiza la evolución del peso con los registros del propio usuario y dibuja la gráfica. / "
        "Analyses the user's weight from their own entries and draws the chart."
    ),
    parameters={"type": "object", "properties": {"period": {"type": "string", "enum": list(PERIODS)}}},
)

_MONTH = words(
    "ultimo mes", "este mes", "mes pasado", "30 dias", "4 semanas", "last month", "this month", "past month", "30 days"
)  # fmt: skip
_QUARTER = words("3 meses", "trimestre", "90 dias", "12 semanas", "3 months", "quarter", "90 days")
_ALL = words(
    "todo", "historial", "desde que empece", "desde el principio", "siempre", "all", "since i started", "history",
    "ever$", "ano", "year",
)  # fmt: skip


class Progress:
    """The tool."""

    declaration = DECLARATION
    skill = "analyze_progress"
    reads: tuple[LogKind, ...] = ("weight",)

    def arguments_from(self, context: ToolContext) -> dict[str, Any]:
        """The period that the text names; three months when it names none."""
        said = numbered(fold(context.text))
        for period, pattern in (("last_3_months", _QUARTER), ("last_month", _MONTH), ("all", _ALL)):
            if has_word(said, pattern):
                return {"period": period}
        return {"period": DEFAULT_PERIOD}

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        """The trend. Raises InvalidRequest for an unknown period."""
        asked = choice(arguments, "period", PERIODS)
        period = next((name for name in PERIODS if name == asked), DEFAULT_PERIOD)
        days = PERIOD_DAYS[period]
        since = 0.0 if days is None else context.now - days * DAY_S
        points = points_of([entry for entry in await context.logs("weight", since) if entry.at >= since])
        facts = {**trend_facts(points, period, context.locale), "sources": list(SOURCES)}
        if not points:
            return ToolOutput(facts=facts)
        data = {
            **facts,
            "points": [{"at": point.at, "kg": round(point.kg, 2)} for point in points],
            "chart_svg": chart_of(points, context.locale),
        }
        return ToolOutput(facts=facts, kind="ProgressAnalysis", title=say(context.locale, "title.progress"), data=data)
