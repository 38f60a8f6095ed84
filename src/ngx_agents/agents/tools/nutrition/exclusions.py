"""What a user may not eat: allergies, diets and foods they name, from the profile and from the text of the turn.

It errs towards leaving a food out: an allergen named in a sentence that speaks of an allergy, an intolerance or of not
eating is excluded, whatever else the sentence says. What is not understood is reported, never silently dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from ngx_agents.agents.tools.nutrition.foods import FOODS, Food
from ngx_agents.agents.tools.reading import fold, sentences, words
from ngx_agents.agents.tools.tool import Language
from ngx_agents.agents.tools.wording import load_table
from ngx_agents.state.model import Profile

_TABLE = load_table("nutrition/exclusions.toml")
ALLERGENS: tuple[str, ...] = tuple(_TABLE["allergens"])
DIETS: tuple[str, ...] = tuple(_TABLE["diets"])
_ALLERGEN_WORDS = {key: words(*entry["words"]) for key, entry in _TABLE["allergens"].items()}
_DIET_WORDS = {key: words(*entry["words"]) for key, entry in _TABLE["diets"].items()}
# in Spanish `soy` is "I am", so in free text the English word counts only after one of these
_SOY = re.compile(r"\b(?:to|and|or|eat|without|avoid|of|no|have) soy\b(?! (?:alergic|intolerant|vegan))|, soy(?:,|$)")
_SPEAKS_OF = words(
    "alerg", "allerg", "intoleran", "celia", "coelia", "anafil", "anaphyl", "no puedo (?:comer|tomar|consumir)",
    "no (?:como|tomo|consumo|tolero)", "(?:hace|hacen) dano", "(?:sienta|sientan|cae|caen) (?:muy )?mal", "sin$",
    "nada de$", "libre de$", "evit", "no me gusta", "odio$", "can't", "cannot", "can not", "don't eat", "do not eat",
    "don't like", "do not like", "avoid", "without$", "free$", "free of$",
    "mak(?:e|es|ing) me (?:sick|ill|bloat|nause|vomit|feel)", "me hinch",
    "me da(?:n)? (?:alergia|diarrea|nausea|asco)",
    "upsets? my stomach", "bloats? me", "ronchas", "urticaria", "hives",
    "no (?:tree nuts?|dairy|eggs?|nuts|peanuts|gluten|wheat|fish|milk|soy|shellfish|seafood|meat|pork)",
    "hate$", "excepto",
    "except",
)  # fmt: skip
_TOKEN = re.compile(r"[a-z]{4,}")
_COMMON = frozenset({
    "cocida", "cocido", "cocidos", "cocidas", "cooked", "boiled", "baked", "grilled", "steamed", "plancha", "horno",
    "vapor", "natural", "plain", "conserva", "canned", "drained", "escurridas", "bajo", "grasa", "azucar", "polvo",
    "powder", "firme", "firm", "fresco", "fresh", "integral", "whole", "blanco", "white", "whites", "magra", "lean",
    "semillas", "seeds", "unsweetened", "dried", "hojuelas", "inflado", "puffed", "rolled", "hidratada", "hydrated",
    "texturizada", "textured", "proteina", "protein", "pasta", "crema", "dulce", "sweet", "verdes", "green",
    "sarraceno", "water", "dressing", "aderezo", "slices", "pads", "cakes", "macho", "aceite", "bell", "breast",
})  # fmt: skip


class Exclusions(msgspec.Struct, frozen=True, kw_only=True):
    """`foods` are ids excluded by name; `unknown` what was stated and not understood."""

    allergens: frozenset[str] = frozenset()
    diets: frozenset[str] = frozenset()
    foods: frozenset[str] = frozenset()
    unknown: tuple[str, ...] = ()

    @property
    def keeps_meat_from_dairy(self) -> bool:
        return "kosher" in self.diets

    def allows(self, food: Food) -> bool:
        """Whether the food may be eaten."""
        if food.id in self.foods or not self.allergens.isdisjoint(food.allergens):
            return False
        if "peanuts" in self.allergens and "lupin" in food.allergens:
            return False  # who is allergic to peanuts may react to lupin, a legume like them
        return not any(_diet_forbids(diet, food) for diet in self.diets)


def exclusions_from(text: str, profile: Profile, stated: Iterable[str] = (), earlier: Sequence[str] = ()) -> Exclusions:
    """What text, `earlier` messages, profile and `stated` (a model's list) exclude, taken together."""
    allergens: set[str] = set()
    diets: set[str] = set()
    foods: set[str] = set()
    unknown: list[str] = []
    for sentence in (sentence for message in (*earlier, text) for sentence in sentences(fold(message))):
        diets |= _matching(_DIET_WORDS, sentence)
        if _SPEAKS_OF.search(sentence):
            allergens |= _matching(_ALLERGEN_WORDS, sentence) | ({"soy"} if _SOY.search(sentence) else set())
            foods |= _named(sentence)
    for item in (*profile.allergies, *profile.restrictions, *stated):
        folded = fold(item)
        found = _matching(_ALLERGEN_WORDS, folded) | ({"soy"} if re.search(r"\bsoy\b", folded) else set())
        found_diets, named = _matching(_DIET_WORDS, folded), _named(folded)
        allergens |= found
        diets |= found_diets
        foods |= named
        if not (found or found_diets or named) and folded.strip():
            unknown.append(item[:80])
    return Exclusions(
        allergens=frozenset(allergens), diets=frozenset(diets), foods=frozenset(foods), unknown=tuple(unknown[:10])
    )


def allergen_names(exclusions: Exclusions, language: Language) -> list[str]:
    return [_TABLE["allergens"][key]["name"][language] for key in ALLERGENS if key in exclusions.allergens]


def diet_names(exclusions: Exclusions, language: Language) -> list[str]:
    return [_TABLE["diets"][key]["name"][language] for key in DIETS if key in exclusions.diets]


def _diet_forbids(diet: str, food: Food) -> bool:
    entry = _TABLE["diets"][diet]
    return food.kind in entry.get("kinds", ()) or any(item in entry.get("allergens", ()) for item in food.allergens)


def _matching(patterns: dict[str, re.Pattern[str]], folded: str) -> set[str]:
    return {key for key, pattern in patterns.items() if key == folded or pattern.search(folded)}


def _stem(token: str) -> str:
    return token.removesuffix("es") if len(token) > 5 and token.endswith("es") else token.removesuffix("s")


def _stems(folded: str) -> set[str]:
    return {_stem(token) for token in _TOKEN.findall(folded) if token not in _COMMON}


_FOOD_STEMS: dict[str, set[str]] = {}
for _food in FOODS.values():
    for _name in _food.name.values():
        for _token in _stems(fold(_name)):
            _FOOD_STEMS.setdefault(_token, set()).add(_food.id)


def _named(folded: str) -> set[str]:
    """Foods whose name shares a telling word with the text."""
    return {food for stem in _stems(folded) for food in _FOOD_STEMS.get(stem, ())}
