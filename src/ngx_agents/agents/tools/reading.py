"""Reading free text without a model: folded spelling, numbers as words, sentences.

Every pattern of the tools runs on text folded here, which is bounded to `LIMIT` characters, so that no user text can
cost more than a fixed time.
"""

from __future__ import annotations

import re
import unicodedata

LIMIT = 4000

_UNITS = {
    "un": 1, "una": 1, "uno": 1, "dos": 2, "tres": 3, "cuatro": 4, "cinco": 5, "seis": 6, "siete": 7, "ocho": 8,
    "nueve": 9, "diez": 10, "once": 11, "doce": 12, "trece": 13, "catorce": 14, "quince": 15, "dieciseis": 16,
    "diecisiete": 17, "dieciocho": 18, "diecinueve": 19, "veintiuno": 21, "veintiun": 21, "veintiuna": 21,
    "veintidos": 22, "veintitres": 23, "veinticuatro": 24, "veinticinco": 25, "veintiseis": 26, "veintisiete": 27,
    "veintiocho": 28, "veintinueve": 29,
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17,
    "eighteen": 18, "nineteen": 19,
}  # fmt: skip
_TENS = {
    "veinte": 20, "treinta": 30, "cuarenta": 40, "cincuenta": 50, "sesenta": 60, "setenta": 70, "ochenta": 80,
    "noventa": 90, "cien": 100, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70,
    "eighty": 80, "ninety": 90,
}  # fmt: skip
_TEN_WORDS = re.compile(rf"\b({'|'.join(_TENS)})(?:(?: y |-| )({'|'.join(_UNITS)}))?\b")
_UNIT_WORDS = re.compile(rf"\b({'|'.join(_UNITS)})\b")
_DECIMAL_COMMA = re.compile(r"(\d),(\d{1,2})(?!\d)")
_SENTENCE = re.compile(r"[;!?¡¿\n]+|\.(?!\d)")
_SPACES = re.compile(r"\s+")


def fold(text: str) -> str:
    """Lower case without accents, decimal commas as points, at most `LIMIT` characters."""
    plain = unicodedata.normalize("NFKD", text[:LIMIT].lower())
    plain = "".join(char for char in plain if not unicodedata.combining(char))[:LIMIT]
    return _DECIMAL_COMMA.sub(r"\1.\2", plain.replace("’", "'"))


def numbered(folded: str) -> str:
    """The folded text with number words as digits: `treinta y cuatro` is `34`."""

    def ten(match: re.Match[str]) -> str:
        return str(_TENS[match[1]] + _UNITS.get(match[2] or "", 0))

    return _UNIT_WORDS.sub(lambda match: str(_UNITS[match[1]]), _TEN_WORDS.sub(ten, folded))


def sentences(folded: str) -> list[str]:
    """Sentences of folded text, without empty ones, inner spaces single."""
    return [part for raw in _SENTENCE.split(folded) if (part := _SPACES.sub(" ", raw).strip())]


def has_word(folded: str, words: re.Pattern[str]) -> bool:
    return words.search(folded) is not None


def words(*stems: str) -> re.Pattern[str]:
    """A pattern that finds any of the stems at the start of a word; a stem ending in `$` is the whole word."""
    parts = [stem[:-1] + r"\b" if stem.endswith("$") else stem for stem in stems]
    return re.compile(rf"\b(?:{'|'.join(parts)})")
