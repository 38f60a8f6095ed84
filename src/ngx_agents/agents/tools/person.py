"""What the user says about their own body in the text of a turn, over what their profile holds.

Only explicit statements count: a goal weight, a deadlift or the years someone has trained are not taken for facts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import msgspec

from ngx_agents.agents.tools.reading import fold, numbered, sentences, words
from ngx_agents.state.model import Profile

POUND_KG = 0.45359237
INCH_CM = 2.54
WEIGHT_KG = (25.0, 400.0)
HEIGHT_CM = (100.0, 250.0)
AGE_YEARS = (10, 110)

Sex = Literal["female", "male"]
Activity = Literal["sedentary", "light", "moderate", "high", "very_high"]
T = TypeVar("T")

_UNIT = r"(kgs?|kilos?|kilogramos?|kilograms?|lbs?|libras?|pounds?)\b"
_WEIGHT_VERB = re.compile(
    r"(?<!de )(?<!perder )(?<!bajar )(?<!ganar )(?<!subir )(?<!lose )(?<!gain )(?<!goal )(?<!target )(?<!ideal )"
    r"\b(?:peso|pese|pesando|pesaba|he pesado|weigh(?:ed|ing)?|weight)\b"
    r"(?! (?:muerto|ideal|objetivo|meta|deseado|goal|target|loss))"
    r"[\s:]+(?:(?:actual|hoy|ayer|esta|manana|today|yesterday|this|morning|is|was|es|son|de|fue|ha|sido|me|in|at|"
    r"marco|about|unos|ahora|now|just|exactamente|aproximadamente|actualmente|currently)[\s:]+){0,4}"
    r"(\d{2,3}(?:\.\d{1,2})?)\b\s*" + _UNIT.replace(r"\b", "") + r"?(?![\w%/])"
)
_WEIGHT_ITEM = re.compile(
    r"(?:^|[,(] ?|\b(?:y|and|anos|years old|yo|cm|m|mujer|hombre|female|male) )(\d{2,3}(?:\.\d{1,2})?) ?" + _UNIT
)
_AGE = re.compile(
    r"\b(?:tengo|cumpli|edad:?|i am|i'm|im|age:?|aged) (?:de |is )?(\d{2,3})\b"
    r"(?! ?(?:cm|kg|kilos|lbs?|m\b|%|\.\d|km|min|weeks?|sem))"
    r"|(?:^|[,(] ?|\b(?:de|kgs?|kilos|lbs?|libras|pounds|cm|m|metros|mujer|hombre|female|male) )"
    r"(\d{2,3}) (?:anos|years? old)\b|\b(\d{2,3})[ -](?:years?[ -]old|yo\b|y/o)"
)
_METRES = re.compile(
    r"\b(?:mido|altura:?|estatura:?|height:?|tall)?(?: de| is)? ?(1\.\d{1,2}|2\.[0-4]\d?)\s?"
    r"(?:m\b|mts?\b|metros?|meters?|metres?)"
)
_MIDO = re.compile(r"\b(?:mido|altura:?|estatura:?|height:?)(?: de| is| es)? (1\.\d{1,2}|2\.[0-4]\d?|1\d\d|2[0-4]\d)\b")
_CM = re.compile(r"\b(1\d\d|2[0-4]\d)(?:\.\d)? ?(?:cm|centimetros?|centimet(?:er|re)s?)\b")
_FEET = re.compile(r"\b([4-7]) ?(?:'|ft|feet|foot|pies)\.? ?(\d{1,2})?")
_FEMALE = words(
    r"(?:soy|i am|i'm) (?:una? |a )?(?:mujer|chica|female|woman)",
    "sexo femenino",
    "sex: female",
    "female$",
    "mujer$",
    "old woman",
)
_MALE = words(
    r"(?:soy|i am|i'm) (?:un |a )?(?:hombre|varon|chico|male|man$)",
    "sexo masculino",
    "sex: male",
    "male$",
    "hombre$",
    "varon$",
    "old man$",
)
_TRAINS = r"(?:entreno|train|work out) {} (?:dias|veces|vez|days?|times)"
_ACTIVITIES: tuple[tuple[Activity, re.Pattern[str]], ...] = (
    ("sedentary", words("sedentari", "sedentary", "no hago ejercicio", "no entreno", "don't exercise", "no exercise")),
    ("very_high", words("trabajo fisico", "2 veces al dia", "twice a day", "physical job", "atleta profesional")),
    ("high", words("muy activ", "very active", _TRAINS.format("[67]"))),
    ("moderate", words("moderadamente activ", "moderately active", _TRAINS.format("[3-5]"))),
    ("light", words("poco activ", "ligeramente activ", "lightly active", _TRAINS.format("[12]"))),
)


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """None means unknown. Lengths in cm, weights in kg, ages in years."""

    age: int | None = None
    sex: Sex | None = None
    height_cm: float | None = None
    weight_kg: float | None = None
    activity: Activity | None = None


def person_from(text: str, profile: Profile, earlier: Sequence[str] = ()) -> Person:
    """The profile's values, with what the user stated put over them, the newest statement first.

    `earlier` are former messages, oldest first; values out of bounds are ignored.
    """
    said = [numbered(fold(message)) for message in (text, *reversed(earlier))]
    return Person(
        age=_newest(lambda each: _bounded_int(read_age(each), AGE_YEARS), said) or _bounded_int(profile.age, AGE_YEARS),
        sex=_newest(read_sex, said) or profile.sex,
        height_cm=_newest(lambda each: _bounded(read_height_cm(each), HEIGHT_CM), said)
        or _bounded(profile.height_cm, HEIGHT_CM),
        weight_kg=_newest(read_weight_kg, said) or _bounded(profile.weight_kg, WEIGHT_KG),
        activity=_newest(read_activity, said) or profile.activity,
    )


def read_weight_kg(said: str) -> float | None:
    """Body weight that the folded, numbered text states, in kg with two decimals."""
    for sentence in sentences(said):
        match = _WEIGHT_VERB.search(sentence) or _WEIGHT_ITEM.search(sentence)
        if match is None:
            continue
        factor = POUND_KG if (match[2] or "").startswith(("lb", "libra", "pound")) else 1.0
        return _bounded(round(float(match[1]) * factor, 2), WEIGHT_KG)
    return None


def read_age(said: str) -> int | None:
    for match in _AGE.finditer(said):
        return int(match[1] or match[2] or match[3])
    return None


def read_height_cm(said: str) -> float | None:
    if match := _METRES.search(said):
        return round(float(match[1]) * 100, 1)
    if match := _MIDO.search(said):
        value = float(match[1])
        return round(value * 100, 1) if value < 3 else value
    if match := _CM.search(said):
        return float(match[1])
    if match := _FEET.search(said):
        return round((int(match[1]) * 12 + int(match[2] or 0)) * INCH_CM, 1)
    return None


def read_sex(said: str) -> Sex | None:
    if _FEMALE.search(said):
        return "female"
    return "male" if _MALE.search(said) else None


def read_activity(said: str) -> Activity | None:
    return next((level for level, pattern in _ACTIVITIES if pattern.search(said)), None)


def _newest(read: Callable[[str], T | None], said: Sequence[str]) -> T | None:
    """What the first of the messages, newest first, that states it says."""
    return next((found for each in said if (found := read(each)) is not None), None)


def _bounded(value: float | None, bounds: tuple[float, float]) -> float | None:
    return value if value is not None and bounds[0] <= value <= bounds[1] else None


def _bounded_int(value: int | None, bounds: tuple[int, int]) -> int | None:
    return value if value is not None and bounds[0] <= value <= bounds[1] else None
