"""Whether a question is in the one language that the small model was made of.

Asked in Spanish it answers with nonsense in good form, which is worse than no answer; so such questions are refused.
Common words decide, and letters that English lacks; a question with neither passes.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W\d_]+")
_FOREIGN = re.compile(r"[¿¡]|[^\x00-\x7f\W\d_]")
_ENGLISH = """
the a an is are am was do does did what why how when where who which can could should would will i you my your me it
this that of to in on for and or with not be have has good hello hi thanks thank please tell give
"""
_SPANISH = """
el la los las un una unos unas es son soy eres ser estar estoy que como cuando donde quien cual por para con de del al
en y o mi mis tu tus su sus yo me te se lo le muy mas pero si puedo puedes quiero dame dime tengo hay hola gracias
buenos buenas dias tardes noches adios ayuda cuanto cuanta cuantos porque sobre hoy agua dormir comer peso
"""
ENGLISH = frozenset(_ENGLISH.split())
SPANISH = frozenset(_SPANISH.split())
SHARED = ENGLISH & SPANISH


def is_english(text: str) -> bool:
    words = [word.lower() for word in _WORD.findall(text)]
    english = sum(word in ENGLISH and word not in SHARED for word in words)
    foreign = sum(word in SPANISH and word not in SHARED for word in words) + len(_FOREIGN.findall(text))
    return foreign <= english
