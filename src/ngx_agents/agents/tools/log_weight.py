"""log_weight: stores the body weight that the user states, once, and says where the trend stands.

Storing is an effect; its key is the day meant, so that a turn that is run again does not log twice.
"""

from __future__ import annotations

import re
from typing import Any

from ngx_agents.agents.tools.arguments import integer, number
from ngx_agents.agents.tools.person import POUND_KG, WEIGHT_KG, read_weight_kg
from ngx_agents.agents.tools.reading import fold, numbered, sentences, words
from ngx_agents.agents.tools.tool import ToolContext, ToolOutput
from ngx_agents.agents.tools.weight.report import date_label, say, trend_facts
from ngx_agents.agents.tools.weight.trend import DAY_S, points_of
from ngx_agents.errors import ConsentRequired, InvalidRequest
from ngx_agents.state.model import LogEntry, LogKind
from ngx_agents.vertex.content import ToolDeclaration

MAX_DAYS_AGO = 365
TREND_DAYS = 30

DECLARATION = ToolDeclaration(
    name="log_weight",
    description=(
        "Registra el peso corporal que dice el usuario, en kg. No para pesos objetivo ni cargas de ejercicios. / "
        "Logs the body weight the user states, in kg. Not for goal weights or exercise loads."
    ),
    parameters={
        "type": "object",
        "properties": {
            "kg": {"type": "number", "minimum": WEIGHT_KG[0], "maximum": WEIGHT_KG[1]},
            "days_ago": {"type": "integer", "minimum": 0, "maximum": MAX_DAYS_AGO},
        },
        "required": ["kg"],
    },
)

# in a message to this tool a number after these is a body weight, unless it is a goal or a load
_LOGGED = re.compile(
    r"\b(?:bascula|scale|log|record|regist\w*|anot\w*|apunt\w*|guard\w*|agreg\w*|anad\w*|actualiz\w*|peso|add|save|note"
    r"|write|update|amaneci|woke|pesar|pese|weighed|weight)\b\D{0,40}"
    r"(\d{2,3}(?:\.\d{1,2})?)\b ?(kgs?\b|kilos?\b|lbs?\b|libras?\b|pounds?\b)?"
)
_NOT_BODY = words(
    "objetivo", "meta$", "ideal", "muerto", "sentadilla", "press$", "bajar", "perder", "subir", "ganar", "llegar",
    "goal", "target", "squat", "deadlift", "bench", "reps", "lose", "gain", "reach", "drop",
)  # fmt: skip
_DAYS_AGO = re.compile(r"\bhace (\d{1,3}) dias?\b|\b(\d{1,3}) days? ago\b")
_BEFORE = (
    (2, re.compile(r"\b(?:anteayer|antier|antes de ayer|day before yesterday)\b")),
    (1, re.compile(r"\b(?:ayer|anoche|yesterday|last night)\b")),
)


class LogWeight:
    """The tool. Makes no artifact: the entry itself is what stays."""

    declaration = DECLARATION
    skill = "log_weight"
    reads: tuple[LogKind, ...] = ("weight",)

    def arguments_from(self, context: ToolContext) -> dict[str, Any]:
        """The stated weight in kg and how many days ago it held; nothing when no weight is stated."""
        said = numbered(fold(context.text))
        kg = read_weight_kg(said) or read_logged_kg(said)
        return {} if kg is None else {"kg": kg, "days_ago": read_days_ago(said)}

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        """Stores the entry, or says that consent is lacking. Raises InvalidRequest for a `kg` not in 25..400."""
        kg = number(arguments, "kg", *WEIGHT_KG)
        if kg is None:
            raise InvalidRequest("kg is missing", field="kg")
        days_ago = integer(arguments, "days_ago", 0, MAX_DAYS_AGO) or 0
        at = context.now - days_ago * DAY_S
        date = date_label(at, context.locale)
        logged: dict[str, Any] | None = {"kg": kg, "date": date}
        saved = say(context.locale, "log.saved", kg=f"{kg:g}", date=date)
        try:
            await context.add_log("weight", at, {"kg": kg}, f"log_weight:{days_ago}")
        except ConsentRequired:
            logged, saved = None, say(context.locale, "log.not_saved", kg=f"{kg:g}")
        entry = LogEntry(id="", kind="weight", at=at, data={"kg": kg})
        trend = trend_facts(points_of(await _with(entry, context)), "last_month", context.locale)
        return ToolOutput(facts={"logged": logged, "saved": saved, "trend": trend})


def read_logged_kg(said: str) -> float | None:
    """The weight of a message that asks to log one without calling it a weight, such as `la bascula marco 74.6`."""
    for sentence in sentences(said):
        match = _LOGGED.search(sentence)
        if match is None or _NOT_BODY.search(sentence):
            continue
        factor = POUND_KG if (match[2] or "").startswith(("lb", "libra", "pound")) else 1.0
        kg = round(float(match[1]) * factor, 2)
        return kg if WEIGHT_KG[0] <= kg <= WEIGHT_KG[1] else None
    return None


def read_days_ago(said: str) -> int:
    """How many days before now the folded, numbered text speaks of; 0 for today, at most `MAX_DAYS_AGO`."""
    if match := _DAYS_AGO.search(said):
        return min(int(match[1] or match[2]), MAX_DAYS_AGO)
    return next((days for days, pattern in _BEFORE if pattern.search(said)), 0)


async def _with(entry: LogEntry, context: ToolContext) -> list[LogEntry]:
    """The month's entries with the new one, which the journal may or may not show yet."""
    stored = list(await context.logs("weight", context.now - TREND_DAYS * DAY_S))
    if any(item.at == entry.at and item.data.get("kg") == entry.data["kg"] for item in stored):
        return stored
    return sorted([*stored, entry], key=lambda item: item.at)
