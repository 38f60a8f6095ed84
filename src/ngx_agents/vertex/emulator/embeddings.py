"""Embeddings that mean something without a model: hashed words, word pairs and letter groups, of unit length.

Texts that share words or stems lie close, whatever their case and accents; texts that share nothing are near
orthogonal. The same text gives the same vector always, and other dimensions another vector of unit length.
"""

from __future__ import annotations

import math
import re
import unicodedata
import zlib
from functools import lru_cache

from ngx_agents.vertex.emulator.answers import COMMON_WORDS

_WORD = re.compile(r"\w+")
WORD_WEIGHT = 1.0
COMMON_WEIGHT = 0.2
PAIR_WEIGHT = 0.3
GROUP_WEIGHT = 0.5
GROUP_LETTERS = 3
CHARACTERS = 40_000


@lru_cache(maxsize=256)
def embed(text: str, dimensions: int) -> tuple[float, ...]:
    """The unit vector of `text` in so many dimensions."""
    vector = [0.0] * dimensions
    for feature, weight in _features(text[:CHARACTERS]).items():
        drawn = zlib.crc32(feature.encode())
        vector[(drawn >> 1) % dimensions] += weight if drawn & 1 else -weight
    length = math.sqrt(math.fsum(value * value for value in vector))
    if length == 0.0:
        vector[zlib.crc32(text.encode()) % dimensions] = length = 1.0
    return tuple(round(value / length, 9) if value else 0.0 for value in vector)


def _features(text: str) -> dict[str, float]:
    """Each feature with its weight; repetitions count by their square root, so that length does not rule."""
    words = _WORD.findall(_plain(text))
    counts: dict[str, int] = {}
    weights: dict[str, float] = {}
    for number, word in enumerate(words):
        is_common = word in COMMON_WORDS
        _count(counts, weights, f"w {word}", COMMON_WEIGHT if is_common else WORD_WEIGHT)
        if number:
            _count(counts, weights, f"p {words[number - 1]} {word}", PAIR_WEIGHT)
        if not is_common:
            edged = f"<{word}>"
            for start in range(len(edged) - GROUP_LETTERS + 1):
                _count(counts, weights, "g " + edged[start : start + GROUP_LETTERS], GROUP_WEIGHT)
    return {feature: weights[feature] * math.sqrt(count) for feature, count in counts.items()}


def _count(counts: dict[str, int], weights: dict[str, float], feature: str, weight: float) -> None:
    counts[feature] = counts.get(feature, 0) + 1
    weights[feature] = weight


def _plain(text: str) -> str:
    return "".join(
        letter for letter in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(letter)
    )
