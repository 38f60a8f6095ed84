"""The weight trend in words, for the two tools that speak of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from ngx_agents.agents.tools.tool import Language
from ngx_agents.agents.tools.weight.chart import ChartText, weight_chart
from ngx_agents.agents.tools.weight.trend import (
    HEALTHY_RATE,
    MIN_POINTS,
    STEADY_RATE,
    Point,
    Trend,
    is_enough,
    smooth,
    span_days,
    trend_of,
)
from ngx_agents.agents.tools.wording import load_wording

say = load_wording("weight/wording.toml").say
Period = Literal["last_month", "last_3_months", "all"]
PERIOD_DAYS: dict[Period, int | None] = {"last_month": 30, "last_3_months": 90, "all": None}
SOURCES = (
    "Sen 1968, doi:10.1080/01621459.1968.10480934",
    "Garthe 2011, doi:10.1123/ijsnem.21.2.97",
    "Hall 2011, doi:10.1016/S0140-6736(11)60812-X",
)


def trend_facts(points: Sequence[Point], period: Period, language: Language) -> dict[str, Any]:
    """What the points say of the period; `enough` tells whether they carry a trend, `note` why not."""
    name = say(language, f"period.{period}")
    facts: dict[str, Any] = {"period": period, "period_name": name, "count": len(points), "enough": is_enough(points)}
    if points:
        facts |= {"first": _entry(points[0], language), "last": _entry(points[-1], language)}
    if not facts["enough"]:
        return facts | {"note": _why_not(points, name, language), "advice": say(language, "few.advice")}
    trend = trend_of(points)
    low, high = trend.projected_range
    return facts | {
        "change_kg": round(trend.change_kg, 1),
        "rate_kg_week": round(trend.rate, 2),
        "least_squares_kg_week": round(trend.least_squares_rate, 2),
        "percent_week": round(100 * trend.share_per_week, 2),
        "trend_kg": round(trend.smoothed[-1], 1),
        "days": round(span_days(points)),
        "direction": say(language, f"direction.{_direction(trend)}"),
        "pace": _pace(trend),
        "pace_note": say(language, f"pace.{_pace(trend)}"),
        "projection": {"days": 28, "low_kg": round(low, 1), "high_kg": round(high, 1)},
        "projection_note": say(language, "projection.caution", low=f"{low:.1f}", high=f"{high:.1f}"),
    }


def chart_of(points: Sequence[Point], language: Language) -> str:
    """The chart of at least one point; the trend line only when there is enough for one."""
    first, last = points[0], points[-1]
    text = ChartText(
        title=say(language, "title.progress"),
        description=say(
            language,
            "chart.description",
            count=len(points),
            first=date_label(first.at, language),
            last=date_label(last.at, language),
            from_kg=f"{first.kg:.1f}",
            to_kg=f"{last.kg:.1f}",
        ),
        y_axis=say(language, "chart.y_axis"),
        logged=say(language, "chart.logged"),
        trend=say(language, "chart.trend"),
        date=lambda at: date_label(at, language, with_year=span_days(points) > 300),
    )
    return weight_chart(points, smooth(points) if is_enough(points) else (), text)


def date_label(at: float, language: Language, *, with_year: bool = False) -> str:
    """`24 nov`, or `nov 2026` with the year; in UTC."""
    day = datetime.fromtimestamp(at, UTC)
    month = say(language, f"month.{day.month}")
    return f"{month} {day.year}" if with_year else f"{day.day} {month}"


def _entry(point: Point, language: Language) -> dict[str, Any]:
    return {"date": date_label(point.at, language), "kg": round(point.kg, 1)}


def _direction(trend: Trend) -> str:
    if _pace(trend) == "steady":
        return "steady"
    return "falling" if trend.rate < 0 else "rising"


def _pace(trend: Trend) -> str:
    share = abs(trend.share_per_week)
    if share <= STEADY_RATE:
        return "steady"
    return "healthy" if share <= HEALTHY_RATE else "too_fast"


def _why_not(points: Sequence[Point], period: str, language: Language) -> str:
    if not points:
        return say(language, "few.none", period=period)
    if len(points) < MIN_POINTS:
        return say(language, "few.points", count=len(points), period=period)
    return say(language, "few.span", days=round(span_days(points)), period=period)
