"""The screen before routing, cache and model: red flags end coaching for the turn, cautions make it conservative.

Local, without I/O, so it works with every dependency down. What it looks for and says is content
(`team/safety.toml`). A rule is tried only when a word of the text begins like one of its anchors, so ordinary text
costs a few dictionary look-ups. A miss is worse than a false alarm: an excuse must stand directly at the sign.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from ngx_agents.agents.language import Language
from ngx_agents.agents.safety_content import FlagContent, SafetyContent, SignContent
from ngx_agents.agents.wording import normalise, words_of
from ngx_agents.state.model import Profile

_ANCHOR = 4  # letters by which anchors are looked up
_SENTENCE_END = re.compile(r"[.!?;]")


_Index = dict[str, list[tuple[str, int]]]


class RedFlag(msgspec.Struct, frozen=True):
    """`id` is stable and may be logged; `text` is what the user is told, whole and fixed.

    `reminder` is said first in the turns that follow, empty when nothing need be; the intents in `holds` then get no
    plan.
    """

    id: str
    text: str
    reminder: str = ""
    holds: tuple[str, ...] = ()


class Screened(msgspec.Struct, frozen=True):
    """All that the screen finds in one message: its flag, its cautions, and whether it releases an earlier flag."""

    flag: RedFlag | None
    cautions: tuple[str, ...]
    releases: bool


class _Sign(msgspec.Struct, frozen=True):
    pattern: re.Pattern[str]
    unless: re.Pattern[str] | None
    needs: re.Pattern[str] | None
    firm: bool


class _Caution(msgspec.Struct, frozen=True):
    id: str
    pattern: re.Pattern[str]


class SafetyScreen:
    """Compiled once, used by every turn."""

    def __init__(self, content: SafetyContent) -> None:
        self._content = content
        self._negation = content.compiled(content.excuses.negation)
        self._question = content.compiled(content.excuses.question)
        self._personal = content.compiled(content.excuses.personal)
        self._past = content.compiled(content.excuses.past)
        self._present = content.compiled(content.excuses.present)
        self._signs = tuple(tuple(self._sign(sign) for sign in flag.signs) for flag in content.flags)
        self._flag_anchors = _index(flag.anchors for flag in content.flags)
        self._cautions = tuple(
            _Caution(each.id, content.compiled("|".join(each.patterns))) for each in content.cautions
        )
        self._caution_anchors = _index(each.anchors for each in content.cautions)
        self._guidance = {each.id: each.guidance for each in content.cautions}
        self._said = content.compiled(content.referral.said)
        self._released = content.compiled(content.held.released)

    def red_flag(
        self, text: str, words: Iterable[str], *, language: Language, locale: str | None, profile: Profile
    ) -> RedFlag | None:
        """The first red flag in the normalised text, with what to say in this locale."""
        candidates = _candidates(self._flag_anchors, words)
        if not candidates:
            return None
        known = f"{text} (pregnant)" if profile.pregnant else text
        for number in sorted(candidates):
            if any(self._shows(sign, text, known) for sign in self._signs[number]):
                flag = self._content.flags[number]
                return self._flag(flag, language, locale)
        return None

    def cautions(self, text: str, words: Iterable[str], profile: Profile) -> tuple[str, ...]:
        """Ids of what calls for conservative advice and a referral, from the profile and the normalised text."""
        found = dict.fromkeys(_from_profile(profile))
        for number in sorted(_candidates(self._caution_anchors, words)):
            caution = self._cautions[number]
            match = caution.pattern.search(text)
            if match and not self._negation.search(text, 0, match.start()):
                found[caution.id] = None
        return tuple(found)

    def screened(self, text: str, *, language: Language, locale: str | None, profile: Profile) -> Screened:
        """A message that was not normalised yet; of the profile, only what makes a sign one is looked at."""
        plain = normalise(text)
        words = words_of(plain)
        return Screened(
            self.red_flag(plain, words, language=language, locale=locale, profile=profile),
            self.cautions(plain, words, Profile()),
            self.releases(plain),
        )

    def guidance(self, cautions: Iterable[str], language: Language) -> tuple[str, ...]:
        """What the model is told about each caution."""
        return tuple(self._guidance[each].of(language) for each in cautions)

    def referral(self, answer: str, language: Language) -> str | None:
        """The sentence that sends to a professional, unless the normalised answer has one already."""
        if self._said.search(answer):
            return None
        referral = self._content.referral
        return referral.es if language == "es" else referral.en

    def releases(self, text: str) -> bool:
        """Whether the normalised text says that a professional has seen to an earlier flag."""
        return self._released.search(text) is not None

    def held(self, language: Language) -> str:
        """What is said in place of a plan while a flag holds it."""
        held = self._content.held
        return held.es if language == "es" else held.en

    def _sign(self, sign: SignContent) -> _Sign:
        compiled = self._content.compiled
        return _Sign(
            pattern=compiled(sign.pattern),
            unless=compiled(sign.unless) if sign.unless else None,
            needs=compiled(sign.needs) if sign.needs else None,
            firm=sign.firm,
        )

    def _shows(self, sign: _Sign, text: str, known: str) -> bool:
        for match in sign.pattern.finditer(text):
            if sign.needs and not sign.needs.search(known):
                return False
            start, end = _sentence(text, match.start(), match.end())
            if sign.unless and sign.unless.search(text, start, end):
                continue
            if not self._is_excused(text, match, sentence=(start, end), firm=sign.firm):
                return True
        return False

    def _is_excused(self, text: str, match: re.Match[str], *, sentence: tuple[int, int], firm: bool) -> bool:
        start, end = sentence
        denial = self._negation.search(text, start, match.start())
        if denial and not (firm and "," in denial.group()):
            return True
        if firm:
            return False
        if self._question.search(text, start, match.start()) and not self._personal.search(text, start, end):
            return True
        return bool(self._past.search(text, start, end)) and not self._present.search(text, start, end)

    def _flag(self, flag: FlagContent, language: Language, locale: str | None) -> RedFlag:
        contacts = self._content.contacts
        tag = (locale or "").replace("_", "-")
        contact = contacts.get(f"{language}-{tag[3:].upper()}") or contacts[language]
        said = {"name": flag.name.of(language), "emergency": contact.emergency, "crisis": contact.crisis}
        text = self._content.texts[flag.kind].of(language).format(**said)
        reminder = self._content.reminders.get(flag.kind)
        if reminder is None:
            return RedFlag(flag.id, text)
        again = reminder.es if language == "es" else reminder.en
        return RedFlag(flag.id, text, again.format(**said), reminder.holds)


def _index(anchors_of_rules: Iterable[Iterable[str]]) -> _Index:
    """Anchors by their first letters; one that is shorter than these stands for the whole word."""
    index: _Index = {}
    for number, anchors in enumerate(anchors_of_rules):
        for anchor in anchors:
            index.setdefault(anchor[:_ANCHOR], []).append((anchor, number))
    return index


def _candidates(index: _Index, words: Iterable[str]) -> set[int]:
    found: set[int] = set()
    for word in words:
        for anchor, number in index.get(word[:_ANCHOR], ()):
            if word.startswith(anchor):
                found.add(number)
    return found


def _sentence(text: str, start: int, end: int) -> tuple[int, int]:
    """The bounds of the sentence around a match."""
    first = max(text.rfind(mark, 0, start) for mark in ".!?;") + 1
    last = _SENTENCE_END.search(text, end)
    return first, last.start() if last else len(text)


def _from_profile(profile: Profile) -> Iterable[str]:
    if profile.age is not None and profile.age < 18:
        yield "minor"
    if profile.pregnant:
        yield "pregnancy"
    if profile.conditions:
        yield "chronic_condition"
    if profile.medication:
        yield "medication"
