"""States of health that call for caution, as the user's messages and the profile tell them.

A state holds from the message that states it until a later one denies it; what the profile says always holds.
Wellness advice only: a state makes a plan gentler and refers to a professional, it is never judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from ngx_agents.agents.tools.reading import fold, sentences, words
from ngx_agents.state.model import Profile

State = Literal["pregnant", "heart", "fever", "kidney", "condition"]
STATES: dict[State, re.Pattern[str]] = {
    "pregnant": words("embarazada", "en embarazo", "mi embarazo", "lactancia", "amamant", "pregnan", "breastfeed"),
    "heart": words(
        "infarto", "angina", "marcapasos", "stent", "arritmia", "insuficiencia cardiaca", "cardiopat", "soplo",
        "heart (?:attack|disease|failure|condition)", "pacemaker", "arrhythmia", "cardia[ck]", "bypass",
    ),
    "fever": words("fiebre", "febril", "calentura", "fever"),
    "kidney": words("renal", "rinon", "nefr", "dialisis", "kidney", "dialysis", "nephr"),
    "condition": words(
        "diabet", "insulin", "hipertens", "hypertens", "cancer", "hepat", "higado", "liver", "bariatric", "crohn",
        "colitis", "(?:presion|tension) (?:arterial )?alta", "high blood pressure", "asma$", "asmatic", "asthma",
        "epilep", "ictus", "had a stroke", "embolia", "trombosis", "thrombosis",
    ),
}  # fmt: skip
_DENIED = re.compile(
    r"\b(?:no (?:estoy|soy|tengo|padezco|sufro|tuve|he tenido)|sin|ni|not"
    r"|(?:don't|do not|never) (?:have|had)|without|no)"
    r"(?: (?:de|un|una|ninguna?|la|el|a|an|any|ya|yet|currently))?\s?$"
)
_OTHERS = re.compile(
    r"\b(?:mi (?:mujer|esposa|novia|pareja|hermana|amiga)|my (?:wife|girlfriend|partner|sister|friend))"
    r"(?: (?:que |who )?(?:esta|tiene|tuvo|is|has|had))?(?: (?:a|un|una))?\s?$"
)
_LOOK_BACK = 40  # characters before a state in which it is denied


def health_from(messages: Iterable[str], profile: Profile) -> frozenset[State]:
    """The states that hold after the messages, oldest first; one of the profile's own always holds."""
    held: set[State] = set()
    for message in messages:
        for sentence in sentences(fold(message)):
            _read(sentence, held)
    stated = fold(". ".join((*profile.conditions, *profile.medication)))
    held |= {state for state, pattern in STATES.items() if pattern.search(stated)}
    if profile.pregnant:
        held.add("pregnant")
    if profile.conditions or profile.medication or "kidney" in held or "heart" in held:
        held.add("condition")
    return frozenset(held)


def _read(sentence: str, held: set[State]) -> None:
    for state, pattern in STATES.items():
        for match in pattern.finditer(sentence):
            before = sentence[max(0, match.start() - _LOOK_BACK) : match.start()]
            if _DENIED.search(before):
                held.discard(state)
            elif not _OTHERS.search(before):
                held.add(state)
