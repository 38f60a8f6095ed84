"""Deterministic answers: the same seed and body give the same words, another body gives others.

The answer quotes what was asked, in the language it was asked in, and goes on with sentences drawn by the
digest of the body until there is a word for each piece of the stream.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from ngx_agents.vertex.emulator.prompt import Answer, Call, Prompt, tokens_of

_SPANISH = frozenset(
    re.findall(
        r"\w+",
        "el la los las un una de del que qué para por con cómo como mi me mis hola quiero puedo y es en"
        " cuánto debo tengo",
    )
)
_ENGLISH = frozenset(
    re.findall(r"\w+", "the a an of what how for with my me i and is in to can should do want hello much have")
)
_WORD = re.compile(r"\w+")
_WORD_AND_SPACE = re.compile(r"\S+\s*")

_SENTENCES = {
    "es": (
        "Empieza por un paso pequeño y repítelo cada día hasta que sea costumbre.",
        "Anota lo que haces, porque lo que se mide se puede mejorar con calma.",
        "Duerme a la misma hora, bebe agua y deja un día de descanso entre esfuerzos.",
        "Si algo duele, para y pregunta a un profesional antes de seguir.",
        "La constancia pesa más que la intensidad durante las primeras semanas.",
        "Revisa el plan cada semana y cambia una sola cosa cada vez.",
        "Come con variedad, añade verduras a cada plato y no te saltes las proteínas.",
        "Una caminata breve después de comer ayuda más de lo que parece.",
    ),
    "en": (
        "Start with one small step and repeat it every day until it becomes a habit.",
        "Write down what you do, because what is measured can be improved calmly.",
        "Sleep at the same hour, drink water and keep a day of rest between efforts.",
        "If something hurts, stop and ask a professional before you go on.",
        "Consistency weighs more than intensity during the first weeks.",
        "Review the plan every week and change one single thing at a time.",
        "Eat with variety, add vegetables to each plate and do not skip the protein.",
        "A short walk after a meal helps more than it seems.",
    ),
}
_OPENING = {"es": "Has preguntado: «{asked}».", "en": "You asked: “{asked}”."}
_RESULT = {"es": "Según {name}: {said}.", "en": "According to {name}: {said}."}
_THOUGHT = {"es": "Pienso primero qué necesita saber.", "en": "First I consider what they need to know."}
QUOTE_CHARACTERS = 200


def language_of(text: str) -> str:
    """`es` or `en`: whose small words the text has more of; marks only Spanish has decide a tie."""
    words = _WORD.findall(text[:QUOTE_CHARACTERS].lower())
    spanish = sum(word in _SPANISH for word in words)
    english = sum(word in _ENGLISH for word in words)
    if spanish == english:
        return "es" if any(mark in text for mark in "¿¡ñáéíóúÑÁÉÍÓÚ") else "en"
    return "es" if spanish > english else "en"


def compose_text(prompt: Prompt, chunks: int, *, is_split: bool, number: int = 0) -> Answer:
    """An answer in words for `chunks` pieces, in one or split into them; the token bound may cut it short."""
    language = language_of(prompt.user_text)
    opening = _opening(prompt, language)
    words = _WORD_AND_SPACE.findall(opening + " ")
    words.extend(_filler(language, prompt.digest % 8, max(12, chunks - len(words))))
    words[-1] = words[-1].rstrip()
    pieces = _split(words, chunks) if is_split else ["".join(words)]
    finish = "STOP"
    if prompt.max_output_tokens is not None:
        pieces, finish = _bounded(pieces, prompt.max_output_tokens)
    return Answer(
        model=prompt.model,
        id=f"{prompt.digest:08x}{number:08x}",
        pieces=tuple(pieces),
        thought=_THOUGHT[language] if prompt.wants_thoughts else None,
        finish=finish,
        prompt_tokens=prompt.tokens,
        output_tokens=tokens_of(sum(map(len, pieces))),
        thought_tokens=8 + prompt.digest % 32,
    )


def compose_calls(prompt: Prompt, calls: tuple[Call, ...], *, number: int = 0) -> Answer:
    """An answer that asks for tools and says nothing."""
    written = sum(len(call.name) + len(msgspec.json.encode(call.arguments)) for call in calls)
    return Answer(
        model=prompt.model,
        id=f"{prompt.digest:08x}{number:08x}",
        calls=calls,
        prompt_tokens=prompt.tokens,
        output_tokens=tokens_of(written),
        thought_tokens=8 + prompt.digest % 32,
    )


def _opening(prompt: Prompt, language: str) -> str:
    asked = " ".join(prompt.user_text.split())
    if len(asked) > QUOTE_CHARACTERS:
        asked = asked[:QUOTE_CHARACTERS] + "…"
    said = [_OPENING[language].format(asked=asked)]
    for result in prompt.results:
        value = msgspec.json.encode(result.response).decode()
        said.append(_RESULT[language].format(name=result.name, said=value[: 2 * QUOTE_CHARACTERS]))
    return " ".join(said)


@lru_cache(maxsize=4096)
def _filler(language: str, start: int, count: int) -> tuple[str, ...]:
    """At least `count` words in whole sentences, beginning with sentence `start`."""
    sentences = _SENTENCES[language]
    words: list[str] = []
    while len(words) < count:
        words.extend(_WORD_AND_SPACE.findall(sentences[start % len(sentences)] + " "))
        start += 1
    return tuple(words)


def _split(words: list[str], chunks: int) -> list[str]:
    total = len(words)
    return ["".join(words[i * total // chunks : (i + 1) * total // chunks]) for i in range(chunks)]


def _bounded(pieces: list[str], max_tokens: int) -> tuple[list[str], str]:
    left = 4 * max_tokens
    kept: list[str] = []
    for piece in pieces:
        if len(piece) > left:
            return [*kept, piece[:left]] if left else kept, "MAX_TOKENS"
        kept.append(piece)
        left -= len(piece)
    return kept, "STOP"
