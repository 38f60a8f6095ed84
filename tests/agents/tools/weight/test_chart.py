from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given

from ngx_agents.agents.tools.weight.chart import HEIGHT, WIDTH, ChartText, weight_chart
from ngx_agents.agents.tools.weight.trend import Point, smooth
from tests.agents.tools.contexts import NOW, QUICK

from .test_trend import SERIES

SVG = "{http://www.w3.org/2000/svg}"
TEXT = ChartText(
    title='Peso <b>&"', description="De 80 a 79 kg", y_axis="kg", logged="Registrado", trend="Tendencia", date=str
)


@QUICK
@given(SERIES)
def test_everything_is_drawn_inside_the_picture(points: tuple[Point, ...]) -> None:
    root = ET.fromstring(weight_chart(points, smooth(points), TEXT))
    for circle in root.iter(f"{SVG}circle"):
        assert 0 <= float(circle.attrib["cx"]) <= WIDTH
        assert 0 <= float(circle.attrib["cy"]) <= HEIGHT
    line = root.find(f"{SVG}polyline")
    assert line is not None
    assert len(line.attrib["points"].split()) == len(points)


def test_it_is_accessible_escaped_and_without_script() -> None:
    svg = weight_chart([Point(NOW, 80.0)], (), TEXT)
    root = ET.fromstring(svg)
    assert root.attrib["role"] == "img"
    assert root.find(f"{SVG}title").text == TEXT.title  # type: ignore[union-attr]
    assert root.find(f"{SVG}desc").text == TEXT.description  # type: ignore[union-attr]
    ids = {element.attrib["id"] for element in root.iter() if "id" in element.attrib}
    assert set(root.attrib["aria-labelledby"].split()) <= ids
    assert "<b>" not in svg
    assert "script" not in svg
    assert "href" not in svg


@pytest.mark.parametrize("spread", [0.0, 0.1, 3.0, 80.0, 300.0])
def test_the_axis_has_a_handful_of_lines_whatever_the_spread(spread: float) -> None:
    points = [Point(NOW, 60.0), Point(NOW + 864_000, 60.0 + spread)]
    root = ET.fromstring(weight_chart(points, smooth(points), TEXT))
    lines = [each for each in root.iter(f"{SVG}line") if each.attrib["stroke"] == "#e5e7eb"]
    assert 3 <= len(lines) <= 8
