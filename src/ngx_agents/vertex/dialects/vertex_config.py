"""The settings of a generation in Vertex's words.

Whether a model takes a thinking level or a budget stands in its name: levels came with Gemini 3, are preferred from
3.5 on, and Gemini 4 takes nothing else. A model whose name says nothing gets what was asked.
"""

from __future__ import annotations

import re

from ngx_agents.errors import ModelRequestError
from ngx_agents.vertex.content import ModelRequest
from ngx_agents.vertex.controls import SafetySetting, Thinking, ThinkingLevel, ToolChoice
from ngx_agents.vertex.dialects import vertex_wire as wire

MAX_STOP_SEQUENCES = 5
MAX_LABELS = 64
_GENERATION = re.compile(r"gemini-(\d+)(?:\.(\d+))?-")
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_THRESHOLDS = {"none": "BLOCK_NONE", "off": "OFF"}


def generation_config(request: ModelRequest, model: str) -> wire.GenerationConfig | None:
    """None when all is the model's default. Raises ModelRequestError."""
    if len(request.stop_sequences) > MAX_STOP_SEQUENCES:
        raise ModelRequestError(f"the model takes at most {MAX_STOP_SEQUENCES} stop sequences")
    config = wire.GenerationConfig(
        request.temperature,
        request.max_output_tokens,
        request.top_p,
        request.top_k,
        request.seed,
        request.stop_sequences,
    )
    if request.response_schema is not None:
        config.response_mime_type = "application/json"
        config.response_json_schema = request.response_schema
    if request.thinking is not None:
        config.thinking_config = _thinking(request.thinking, model)
    return None if config == _DEFAULT else config


_DEFAULT = wire.GenerationConfig()


def tool_config(choice: ToolChoice) -> wire.ToolConfig:
    if isinstance(choice, tuple):
        return wire.ToolConfig(wire.FunctionCallingConfig("ANY", choice))
    return wire.ToolConfig(wire.FunctionCallingConfig(choice.upper()))


def safety_settings(settings: tuple[SafetySetting, ...]) -> list[wire.SafetySetting]:
    return [
        wire.SafetySetting(
            f"HARM_CATEGORY_{setting.category.upper()}",
            _THRESHOLDS.get(setting.threshold, f"BLOCK_{setting.threshold.upper()}"),
        )
        for setting in settings
    ]


def checked_labels(labels: dict[str, str]) -> dict[str, str]:
    """`labels` themselves. Raises ModelRequestError for a name or value that billing reports cannot take."""
    is_fit = all(_LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(value) for key, value in labels.items())
    if not is_fit or len(labels) > MAX_LABELS:
        raise ModelRequestError(f"labels are at most {MAX_LABELS}, of lower-case letters, digits, - and _")
    return labels


def _thinking(thinking: Thinking, model: str) -> wire.ThinkingConfig | None:
    level, budget = thinking.level, thinking.budget_tokens
    found = _GENERATION.match(model.rpartition("/")[2])
    if found is not None:
        generation = (int(found[1]), int(found[2] or 0))
        level, budget = _fitting(thinking, generation)
    elif level is not None:
        budget = None
    if budget is not None and budget < -1:
        raise ModelRequestError("a thinking budget is a number of tokens, 0 for none or -1 for the model's choice")
    if thinking.include and budget == 0:
        raise ModelRequestError("thoughts cannot be included while thinking is off")
    if level is None and budget is None and not thinking.include:
        return None
    return wire.ThinkingConfig(thinking.include, budget, level.upper() if level else None)


def _fitting(thinking: Thinking, generation: tuple[int, int]) -> tuple[ThinkingLevel | None, int | None]:
    """The one of level and budget that a model of `generation` is given. Raises ModelRequestError."""
    level, budget = thinking.level, thinking.budget_tokens
    if generation >= (4, 0):
        if level is None and budget is not None:
            raise ModelRequestError("this model takes a thinking level, not a budget")
        if level == "minimal":
            raise ModelRequestError("this model's lowest thinking level is low")
        return level, None
    if generation < (3, 0):
        if budget is None and level is not None:
            raise ModelRequestError("this model takes a thinking budget, not a level")
        return None, budget
    prefers_level = generation >= (3, 5)
    if level is not None and (prefers_level or budget is None):
        return level, None
    return None, budget
