"""Injuries as a user states them, and what each forbids and adds.

An area counts as injured when it stands with a word of pain or injury in one clause that does not deny it; what the
profile lists counts without such a word. Wellness advice, never a diagnosis: from `REFER_AT` of 10 on the plan drops
what loads the area and asks for an assessment.

Sources: pain-monitoring model, Thomeé 1997 (doi:10.1093/ptj/77.12.1690), Silbernagel 2007
(doi:10.1177/0363546506298279); patellofemoral pain guideline, Willy 2019 (doi:10.2519/jospt.2019.0302).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from ngx_agents.agents.tools.reading import fold, numbered, sentences, words
from ngx_agents.agents.tools.tool import Language
from ngx_agents.agents.tools.wording import load_table

REFER_AT = 7
EASE_AT = 4

Side = Literal["left", "right", "both"]


class Injury(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`pain` is 0..10, None when it was not said."""

    area: str
    side: Side | None = None
    pain: int | None = None


class Area(msgspec.Struct, frozen=True, kw_only=True):
    """One area of the catalogue; `avoid` are stress tags, `add` exercises, `rest` patterns left out at strong pain."""

    id: str
    words: tuple[str, ...]
    name: dict[str, str]
    legs: bool
    avoid: tuple[str, ...]
    add: tuple[str, ...]
    rest: tuple[str, ...]
    limit: dict[str, str]
    advice: dict[str, str]
    feminine: bool = False


AREAS: dict[str, Area] = {
    key: msgspec.convert({"id": key, **table}, Area) for key, table in load_table("training/injuries.toml").items()
}
_AREA_WORDS = {key: words(*area.words) for key, area in AREAS.items()}
_PAIN = words(
    "duel", "dol", "molest", "lesi", "lastim", "torc", "esguince", "tendin", "rotura", "rompi", "fractur", "operad",
    "operaron", "cirug", "inflam", "hernia", "fascitis", "periostitis", "lumbago", "ciatica", "epicondil", "contractur",
    "artros", "condromalac", "tocad", "fastidi", "hurt", "pain", "injur", "ache", "aching", "sore", "sprain", "strain",
    "torn", "tear", "bad (?:left |right )?(?:knee|ankle|hip|back|shoulder|elbow|wrist|neck)", "surgery", "broke",
    "runner's knee", "sciatica", "mal$", "malos?$", "malas?$", "fatal$", "problema", "problem", "trouble",
)  # fmt: skip
_DENIED = re.compile(
    r"\b(?:no|ya no|nunca|sin|no tengo|doesn't|does not|don't|do not|isn't|no longer|never|without|not)\b[^,]{0,30}?"
    r"\b(?:duel|dol|molest|lesi|hurt|pain|injur|ache|sore|problem)"
)
_GOES_ON = re.compile(r"^(?:y |and |ni |tambien |also )?(?:el |la |los |las |mi |mis |my |the |left |right |un |una )")
_AFFIRMED = re.compile(r"^si |\bdoes$")
_CLAUSE = re.compile(r",| pero | but | aunque | although ")
_PAIN_LEVEL = re.compile(
    r"\b(10|\d) ?(?:/|de|sobre|out of|of) ?10\b"
    r"|\b(?:dolor|nivel|intensidad|pain|level)(?: (?:de|del|nivel|level|of|is|es|a))* (10|\d)\b"
    r"(?! ?(?:km|sem|dias|week|day|min|/|de|k\b|kg))"
)
_SIDES: tuple[tuple[Side, re.Pattern[str]], ...] = (
    ("both", words("ambas$", "ambos$", "las dos$", "los dos$", "both$")),
    ("right", words("derech", "right$", "der\\.")),
    ("left", words("izquierd", "left$", "izq")),
)


def injuries_from(text: str, stated: Sequence[str] = ()) -> tuple[Injury, ...]:
    """Injuries of the text and of `stated` (the profile's own list), one per area, in the catalogue's order."""
    found = [injury for sentence in sentences(fold(text)) for injury in _in_sentence(sentence)]
    for item in stated:
        folded = fold(item)
        found += [_injury(area, folded, folded) for area in _areas_in(folded)]
    return _merged(found)


_WELL_AGAIN = re.compile(
    r"\b(?:ya no (?:me duele|me duelen|tengo|me molesta)"
    r"|ya (?:esta|estoy|la tengo|lo tengo) (?:bien|curad\w|recuperad\w)"
    r"|se me (?:quito|paso)|no longer (?:hurts?|in pain)|(?:doesn't|does not) hurt (?:any ?more|now)"
    r"|(?:is|are|feels?) (?:fine|ok|good|healed|better) (?:now|again)|has healed|have healed)\b"
)


def injuries_of(messages: Sequence[str], stated: Sequence[str] = ()) -> tuple[Injury, ...]:
    """Injuries told in the messages, oldest first, until one says that the area is well again; and of `stated`."""
    held: dict[str, list[Injury]] = {}
    for message in messages:
        folded = fold(message)
        for sentence in sentences(folded):
            if _WELL_AGAIN.search(sentence):
                for area in _areas_in(sentence):
                    held.pop(area, None)
                continue
            for injury in _in_sentence(sentence):
                held.setdefault(injury.area, []).append(injury)
    listed = injuries_from("", stated)
    return _merged([*(injury for told in held.values() for injury in told), *listed])


def unrecognised(stated: Sequence[str]) -> tuple[str, ...]:
    """Those of the profile's injuries that name no area of the catalogue."""
    return tuple(item[:80] for item in stated if not _areas_in(fold(item)))


def forbidden_stress(injuries: Iterable[Injury]) -> frozenset[str]:
    return frozenset(tag for injury in injuries for tag in AREAS[injury.area].avoid)


def is_severe(injury: Injury) -> bool:
    """Whether the pain calls for an assessment before the area is loaded."""
    return injury.pain is not None and injury.pain >= REFER_AT


def rested_patterns(injuries: Iterable[Injury]) -> frozenset[str]:
    return frozenset(pattern for injury in injuries if is_severe(injury) for pattern in AREAS[injury.area].rest)


def label(injury: Injury, language: Language) -> str:
    """`rodilla derecha`, `right knee`."""
    area = AREAS[injury.area]
    name = area.name[language]
    if injury.side is None:
        return name
    if language == "en":
        return f"both {name}s" if injury.side == "both" else f"{injury.side} {name}"
    if injury.side == "both":
        return f"{name} (ambos lados)"
    stem = "derech" if injury.side == "right" else "izquierd"
    return f"{name} {stem}{'a' if area.feminine else 'o'}"


def _in_sentence(sentence: str) -> list[Injury]:
    found: list[Injury] = []
    hurting = denied = False
    for raw in _CLAUSE.split(sentence):
        clause = raw.strip()
        if _DENIED.search(clause):
            hurting, denied = False, True
            continue
        goes_on = hurting and _GOES_ON.match(clause) is not None
        hurting = goes_on or _PAIN.search(clause) is not None or (denied and _AFFIRMED.search(clause) is not None)
        if hurting:
            found += [_injury(area, clause, sentence) for area in _areas_in(clause)]
    return found


def _areas_in(folded: str) -> list[str]:
    return [area for area, pattern in _AREA_WORDS.items() if pattern.search(folded)]


def _injury(area: str, clause: str, sentence: str) -> Injury:
    side = next((side for side, pattern in _SIDES if pattern.search(clause)), None)
    level = _PAIN_LEVEL.search(numbered(sentence))
    return Injury(area=area, side=side, pain=int(level[1] or level[2]) if level else None)


def _merged(found: list[Injury]) -> tuple[Injury, ...]:
    by_area: dict[str, Injury] = {}
    for injury in found:
        known = by_area.get(injury.area)
        if known is None:
            by_area[injury.area] = injury
            continue
        sides = {side for side in (known.side, injury.side) if side is not None}
        pains = [pain for pain in (known.pain, injury.pain) if pain is not None]
        side: Side | None = "both" if len(sides) > 1 else next(iter(sides), None)
        by_area[injury.area] = Injury(area=injury.area, side=side, pain=max(pains, default=None))
    return tuple(by_area[area] for area in AREAS if area in by_area)
