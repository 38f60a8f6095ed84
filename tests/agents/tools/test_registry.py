from __future__ import annotations

import json

import pytest

from ngx_agents.agents.tools.registry import build_tools

TOOLS = build_tools()


def test_the_tools_are_known_by_the_names_they_declare() -> None:
    assert list(TOOLS) == ["generate_training_plan", "create_meal_plan", "analyze_progress", "log_weight"]
    assert all(name == tool.declaration.name for name, tool in TOOLS.items())


@pytest.mark.parametrize("name", TOOLS)
def test_declarations_are_json_schema_objects_described_in_both_languages(name: str) -> None:
    declaration = TOOLS[name].declaration
    schema = json.loads(json.dumps(declaration.parameters))
    assert schema["type"] == "object"
    assert set(schema.get("required", ())) <= set(schema["properties"])
    assert " / " in declaration.description
