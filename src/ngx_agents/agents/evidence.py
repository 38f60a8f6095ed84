"""What the words of a message speak for, learned once from labelled examples.

A feature is a word, cut to its first letters, or two neighbours of them. Its weight for a class is the logarithm of
how much likelier it is in the class's examples than in all others (smoothed); only what speaks for a class is kept,
so the evidence of several subjects in one message adds up side by side. A word one slip away from a known one
(a letter missing, added, changed or swapped) counts as that one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import log

_STEM = 6  # letters kept: entrenar, entreno and entrenamiento are one feature
_SMOOTHING = 0.25
_LEAST_WEIGHT = 0.4  # what says less than this is noise
_KEYWORD_WEIGHT = 2.6
_SLIP_LETTERS = 5  # shorter words are too close to each other to be corrected
_NUMBER = "#"
_REMEMBERED = 8192  # corrections kept: most words people use are used again


class Evidence:
    """`examples` maps each class to its examples, as normalised words.

    `ignored` words are passed over; `keywords` of a class speak for it whether or not an example has them, and
    `one_two` is a keyword of two neighbours.
    """

    def __init__(
        self,
        examples: Mapping[str, Sequence[Sequence[str]]],
        *,
        ignored: frozenset[str] = frozenset(),
        keywords: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        keywords = keywords or {}
        self._ignored = ignored
        self._words = {word for each in examples.values() for words in each for word in words} - ignored
        self._words.update(part for words in keywords.values() for word in words for part in word.split("_"))
        self._slips = _slips(self._words)
        self._correct = lru_cache(_REMEMBERED)(self._corrected)
        self._weights = _with_keywords(self._learn(examples), keywords)

    def of(self, words: Iterable[str]) -> dict[str, float]:
        """Weight per class, of those the words speak for."""
        found: dict[str, float] = {}
        weights = self._weights
        for feature in self.features(words):
            for name, weight in weights.get(feature, ()):
                found[name] = found.get(name, 0.0) + weight
        return found

    def features(self, words: Iterable[str]) -> set[str]:
        """Stems and pairs of neighbouring stems, slips corrected."""
        known, ignored, found, last = self._words, self._ignored, set(), ""
        for word in words:
            if word in ignored:
                continue
            if word not in known:
                word = self._correct(word)
            stem = _stem(word)
            found.add(stem)
            found.add(f"{last} {stem}")
            last = stem
        return found

    def _corrected(self, word: str) -> str:
        if len(word) < _SLIP_LETTERS or word[0].isdigit():
            return word
        slips = self._slips
        direct = slips.get(word)
        if direct:
            return direct
        for at in range(len(word)):
            near = word[:at] + word[at + 1 :]
            if near in self._words:
                return near
            near = slips.get(near, "")
            if near:
                return near
        return word

    def _learn(self, examples: Mapping[str, Sequence[Sequence[str]]]) -> dict[str, dict[str, float]]:
        sizes = {name: len(each) for name, each in examples.items()}
        counts = {
            name: Counter(feature for words in each for feature in self.features(words))
            for name, each in examples.items()
        }
        total: Counter[str] = Counter()
        for each in counts.values():
            total.update(each)
        all_examples = sum(sizes.values())
        learned: dict[str, dict[str, float]] = {}
        for name, counted in counts.items():
            for feature, count in counted.items():
                inside = (count + _SMOOTHING) / (sizes[name] + 2 * _SMOOTHING)
                outside = total[feature] - count + _SMOOTHING
                outside /= all_examples - sizes[name] + 2 * _SMOOTHING
                # a pair repeats what its words said, and a feature seen once may be chance
                weight = log(inside / outside) * (0.5 if " " in feature else 1.0) * count / (count + 1.0)
                if weight >= _LEAST_WEIGHT:
                    learned.setdefault(feature, {})[name] = weight
        return learned


def _with_keywords(
    learned: dict[str, dict[str, float]], keywords: Mapping[str, Sequence[str]]
) -> dict[str, tuple[tuple[str, float], ...]]:
    for name, words in keywords.items():
        for word in words:
            weights = learned.setdefault(" ".join(_stem(each) for each in word.split("_")), {})
            weights[name] = max(weights.get(name, 0.0), _KEYWORD_WEIGHT)
    return {feature: tuple(weights.items()) for feature, weights in learned.items()}


def _stem(word: str) -> str:
    if word[0].isdigit():
        return _NUMBER
    if len(word) > 4 and word[-1] == "s":
        word = word[:-1]
    return word[:_STEM]


def _slips(words: Iterable[str]) -> dict[str, str]:
    """Every known word with one letter left out, to the word; what two words share is nobody's."""
    found: dict[str, str] = {}
    for word in sorted(words):
        if len(word) >= _SLIP_LETTERS and not word[0].isdigit():
            for at in range(len(word)):
                found.setdefault(word[:at] + word[at + 1 :], word)
    return found
