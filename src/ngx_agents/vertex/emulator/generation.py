"""generationConfig and safetySettings: what is refused, and what of them shapes the answer."""

from __future__ import annotations

from typing import Any

import msgspec

from ngx_agents.vertex.emulator import fields
from ngx_agents.vertex.emulator.catalog import Model
from ngx_agents.vertex.emulator.refusal import Refusal, named

_CONFIG = fields.names(
    "temperature topP topK candidateCount maxOutputTokens stopSequences responseLogprobs logprobs presencePenalty"
    " frequencyPenalty seed responseMimeType responseSchema responseJsonSchema responseModalities mediaResolution"
    " speechConfig thinkingConfig imageConfig routingConfig audioTimestamp modelSelectionConfig"
    " enableEnhancedCivicAnswers enableAffectiveDialog modelConfig responseFormat"
)
_THINKING = frozenset(("includeThoughts", "thinkingBudget", "thinkingLevel"))
_SAFETY = frozenset(("category", "threshold", "method"))
_CATEGORIES = frozenset(
    f"HARM_CATEGORY_{name}"
    for name in fields.names(
        "UNSPECIFIED HARASSMENT HATE_SPEECH SEXUALLY_EXPLICIT DANGEROUS_CONTENT CIVIC_INTEGRITY JAILBREAK"
        " UNSPECIFIED IMAGE_HATE IMAGE_DANGEROUS_CONTENT IMAGE_HARASSMENT IMAGE_SEXUALLY_EXPLICIT"
    )
)
_THRESHOLDS = fields.names(
    "HARM_BLOCK_THRESHOLD_UNSPECIFIED BLOCK_LOW_AND_ABOVE BLOCK_MEDIUM_AND_ABOVE BLOCK_ONLY_HIGH BLOCK_NONE OFF"
)
_MIME_TYPES = ("text/plain", "application/json", "text/x.enum")
_LEVEL_SHARE = {"minimal": 0.0, "low": 0.5, "medium": 1.0, "high": 2.0, "xhigh": 4.0}
_RANGES: dict[str, tuple[float, float]] = {  # both ends included
    "temperature": (0.0, 2.0),
    "topP": (0.0, 1.0),
    "topK": (1, 1000),
    "candidateCount": (1, 8),
    "presencePenalty": (-2.0, 2.0),
    "frequencyPenalty": (-2.0, 2.0),
    "logprobs": (0, 20),
}
_NUMBERS = frozenset((*_RANGES, "maxOutputTokens", "seed"))
MAX_STOP_SEQUENCES = 5


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """`schema` None: words, unless `mime` is JSON. `thought_share` scales the thinking, `thought_bound` caps it."""

    max_output_tokens: int | None = None
    candidates: int = 1
    stops: tuple[str, ...] = ()
    mime: str = "text/plain"
    schema: dict[str, Any] | None = None
    wants_thoughts: bool = False
    thought_share: float = 1.0
    thought_bound: int | None = None
    resolution: str = "HIGH"


_PLAIN = Config()


def read_config(config: Any, model: Model) -> Config:
    """Raises Refusal."""
    if not config:
        return _PLAIN
    config = fields.known(config, _CONFIG, "generation_config")
    _check_ranges(config, model)
    if config.keys() <= _NUMBERS:
        return Config(max_output_tokens=config.get("maxOutputTokens"), candidates=config.get("candidateCount") or 1)
    mime, schema = _format(config)
    stops = fields.listed(config, "stopSequences", "generation_config.")
    if len(stops) > MAX_STOP_SEQUENCES or not all(isinstance(stop, str) and stop for stop in stops):
        raise Refusal(
            400,
            f"Unable to submit request because it has {len(stops)} stopSequences but the maximum is"
            f" {MAX_STOP_SEQUENCES}, none of them empty. Update the value and try again.",
        )
    share, bound, wants = _thinking(config.get("thinkingConfig"), model)
    return Config(
        max_output_tokens=config.get("maxOutputTokens"),
        candidates=config.get("candidateCount") or 1,
        stops=tuple(stops),
        mime=mime,
        schema=schema,
        wants_thoughts=wants,
        thought_share=share,
        thought_bound=bound,
        resolution=str(config.get("mediaResolution") or "HIGH").upper().removeprefix("MEDIA_RESOLUTION_"),
    )


def check_safety(settings: list[Any]) -> None:
    """Raises Refusal for a category or threshold nobody knows."""
    for at, setting in enumerate(settings):
        where = f"safety_settings[{at}]"
        setting = fields.known(setting, _SAFETY, where)
        fields.chosen(setting.get("category"), _CATEGORIES, f"{where}.category")
        fields.chosen(setting.get("threshold"), _THRESHOLDS, f"{where}.threshold")


def _check_ranges(config: dict[str, Any], model: Model) -> None:
    for name, value in config.items():
        if value is None:
            continue
        if (bounds := _RANGES.get(name)) is not None:
            _check_range(name, value, *bounds)
        elif name == "maxOutputTokens":
            _check_range(name, value, 1, model.output_limit)


def _check_range(name: str, value: Any, low: float, high: float) -> None:
    is_whole = isinstance(low, int)
    if isinstance(value, bool) or not isinstance(
        value, int if is_whole and not isinstance(value, float) else float | int
    ):
        raise fields.wrong(f"generation_config.{fields.snake(name)}", value)
    if not low <= value <= high or (is_whole and value != int(value)):
        raise Refusal(
            400,
            f"Unable to submit request because it has a {name} value of {value} but the supported range is from {low}"
            f" (inclusive) to {high} (inclusive). Update the value and try again.",
        )


def _format(config: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
    mime = fields.text(config, "responseMimeType", "generation_config.") or "text/plain"
    if mime not in _MIME_TYPES:
        raise Refusal(
            400,
            f"Unable to submit request because it has a responseMimeType parameter with value {mime}, which is not"
            f" supported. Allowed values: {', '.join(_MIME_TYPES)}.",
        )
    given = [config[name] for name in ("responseSchema", "responseJsonSchema") if config.get(name) is not None]
    if not given:
        return mime, None
    if len(given) > 1:
        raise Refusal(
            400, "Unable to submit request because only one of response_schema and response_json_schema can be set."
        )
    if mime == "text/plain":
        raise Refusal(
            400,
            "Unable to submit request because a response schema needs responseMimeType application/json or text/x.enum",
        )
    if not isinstance(given[0], dict):
        raise fields.wrong("generation_config.response_schema", given[0])
    return mime, given[0]


def _thinking(thinking: Any, model: Model) -> tuple[float, int | None, bool]:
    """Share of the usual thoughts, their bound, and whether they are shown."""
    if not thinking:
        return 1.0, None, False
    thinking = fields.known(thinking, _THINKING, "generation_config.thinking_config")
    budget, level = thinking.get("thinkingBudget"), thinking.get("thinkingLevel")
    if budget is not None and level is not None:
        raise Refusal(400, "Only one of thinking budget and thinking level can be set.")
    wants = bool(thinking.get("includeThoughts"))
    if budget is not None:
        return 1.0, _budget(budget, model, wants=wants), wants
    if level is None:
        return 1.0, None, wants
    named_level = str(level).lower()
    if named_level == "thinking_level_unspecified":
        return 1.0, None, wants
    if named_level not in _LEVEL_SHARE:
        raise fields.wrong("generation_config.thinking_config.thinking_level", level)
    if named_level not in model.levels:
        raise Refusal(400, f"Thinking level {named_level.upper()} is not supported for this model.")
    return _LEVEL_SHARE[named_level], None, wants


def _budget(budget: Any, model: Model, *, wants: bool) -> int | None:
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < -1:
        raise fields.wrong("generation_config.thinking_config.thinking_budget", budget)
    if not model.takes_budget:
        raise Refusal(400, "Thinking budget is not supported for this model. Use thinking_level instead.")
    if budget == 0 and wants:
        raise named("thoughts_off")
    return None if budget == -1 else budget
