"""Text as the local rules see it: lower case, no accents, single spaces. Made once a turn, read by all."""

from __future__ import annotations

import re
import unicodedata

# combining accents, soft hyphen, zero-width characters: they hide words and say nothing
_INVISIBLE = re.compile("[\u0300-\u036f\u00ad\u200b-\u200f\u2060\ufeff]+")
_WORD = re.compile(r"[a-z]+|\d+(?:[.,]\d+)?")
# Markdown's emphasis: between words and in them it changes nothing of what they say; 8*10 and 8~10 say something.
# The mark comes first: what begins with a set of characters is searched for ten times as fast.
_EMPHASIS = re.compile(r"[*`~](?:(?<!\d[*`~])|(?!\d))")


def without_emphasis(text: str) -> str:
    """`**Tienes** _fiebre_` becomes `Tienes  fiebre `."""
    return _EMPHASIS.sub("", text.replace("_", " "))


def normalise(text: str) -> str:
    """`¿Qué  ES _esto_?` becomes `¿que es esto ?`; `ñ` becomes `n`, typographic apostrophes become `'`."""
    text = without_emphasis(text)
    if not text.isascii():
        text = _INVISIBLE.sub("", unicodedata.normalize("NFKD", text)).replace("’", "'").replace("´", "'")
    return " ".join(text.lower().split())


def words_of(normalised: str) -> list[str]:
    """Words and numbers in order; a number is one word with its decimals, letters touching it are another."""
    return _WORD.findall(normalised)
