"""The weight chart as an SVG of its own: dots for what was logged, a line for the smoothed trend.

It brings its own background, so that it reads the same on a light and a dark page, holds no script and no reference
to anything outside, and carries title and description for those who cannot see it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import msgspec

from ngx_agents.agents.tools.weight.trend import Point

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 62, 22, 72, 36
INK, SOFT, GRID, PAPER, LINE, DOT = "#111827", "#4b5563", "#e5e7eb", "#ffffff", "#0f766e", "#94a3b8"
FONT = "font-family=\"system-ui, -apple-system, 'Segoe UI', sans-serif\""
MAX_X_LABELS = 6
_NICE_STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


class ChartText(msgspec.Struct, frozen=True, kw_only=True):
    """The words of the chart; `date` makes an axis label of Unix seconds."""

    title: str
    description: str
    y_axis: str
    logged: str
    trend: str
    date: Callable[[float], str]


def weight_chart(points: Sequence[Point], smoothed: Sequence[float], text: ChartText) -> str:
    """The SVG. At least one point; `smoothed` is as long as `points`, or empty for no line."""
    step, low, high = _y_scale([point.kg for point in points])
    start, span = points[0].at, points[-1].at - points[0].at

    def x(at: float) -> float:
        share = (at - start) / span if span else 0.5
        return LEFT + 8 + (WIDTH - LEFT - RIGHT - 16) * share

    def y(kg: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - kg) / (high - low)

    parts = [_open(text), *_y_axis(step, low, high, y), *_x_axis(points, x, text.date)]
    parts += [
        f'<circle cx="{x(p.at):.1f}" cy="{y(p.kg):.1f}" r="{3.6 if len(points) < 40 else 2.6}" fill="{DOT}"/>'
        for p in points
    ]
    if smoothed:
        path = " ".join(f"{x(p.at):.1f},{y(kg):.1f}" for p, kg in zip(points, smoothed, strict=True))
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{LINE}" stroke-width="3" '
            'stroke-linejoin="round" stroke-linecap="round"/>'
        )
        parts.append(_end_label(x(points[-1].at), y(smoothed[-1]), smoothed[-1]))
    parts.append(_legend(text, with_line=bool(smoothed)))
    return "".join([*parts, "</svg>"])


def _open(text: ChartText) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-labelledby="weight-title weight-desc" {FONT} font-size="13">'
        f'<title id="weight-title">{escape(text.title)}</title>'
        f'<desc id="weight-desc">{escape(text.description)}</desc>'
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="12" fill="{PAPER}" stroke="{GRID}"/>'
        f'<text x="{LEFT - 42}" y="30" fill="{INK}" font-size="16" font-weight="600">{escape(text.title)}</text>'
        f'<text x="{LEFT - 42}" y="50" fill="{SOFT}">{escape(text.y_axis)}</text>'
    )


def _y_scale(values: Sequence[float]) -> tuple[float, float, float]:
    """(step, low, high): a round step that gives at most six lines, with room around the values."""
    low, high = min(values), max(values)
    room = max((high - low) * 0.1, 0.5)
    low, high = low - room, high + room
    step = next((step for step in _NICE_STEPS if (high - low) / step <= 5), _NICE_STEPS[-1])
    return step, step * (low // step), step * -(-high // step)


def _y_axis(step: float, low: float, high: float, y: Callable[[float], float]) -> list[str]:
    digits = 0 if step >= 1 else 1
    lines = []
    for index in range(round((high - low) / step) + 1):
        kg = low + index * step
        at = f"{y(kg):.1f}"
        lines.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}" stroke="{GRID}"/>')
        lines.append(
            f'<text x="{LEFT - 10}" y="{at}" dy="0.35em" text-anchor="end" fill="{SOFT}">{kg:.{digits}f}</text>'
        )
    return lines


def _x_axis(points: Sequence[Point], x: Callable[[float], float], date: Callable[[float], str]) -> list[str]:
    start, end = points[0].at, points[-1].at
    count = min(MAX_X_LABELS, 1 + round((end - start) / 86_400))
    times = {date(at): at for at in (start + (end - start) * i / max(1, count - 1) for i in range(count))}
    labels = []
    for index, (name, at) in enumerate(times.items()):
        only = len(times) == 1
        anchor = "middle" if only or 0 < index < len(times) - 1 else "start" if index == 0 else "end"
        labels.append(
            f'<text x="{x(at):.1f}" y="{HEIGHT - BOTTOM + 21}" text-anchor="{anchor}" fill="{SOFT}">'
            f"{escape(name)}</text>"
        )
    return labels


def _end_label(x: float, y: float, kg: float) -> str:
    above = y - 12 if y > TOP + 24 else y + 22
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{LINE}"/>'
        f'<text x="{x:.1f}" y="{above:.1f}" text-anchor="end" fill="{LINE}" font-weight="600" '
        f'stroke="{PAPER}" stroke-width="4" paint-order="stroke">{kg:.1f} kg</text>'
    )


def _legend(text: ChartText, *, with_line: bool) -> str:
    right = WIDTH - RIGHT
    left = right - (196 if with_line else 90)
    dot = (
        f'<circle cx="{left}" cy="26" r="4" fill="{DOT}"/>'
        f'<text x="{left + 10}" y="30" fill="{SOFT}">{escape(text.logged)}</text>'
    )
    line = (
        f'<line x1="{right - 104}" x2="{right - 82}" y1="26" y2="26" stroke="{LINE}" stroke-width="3"/>'
        f'<text x="{right - 74}" y="30" fill="{SOFT}">{escape(text.trend)}</text>'
    )
    return dot + line if with_line else dot
