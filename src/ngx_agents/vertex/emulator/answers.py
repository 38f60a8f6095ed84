"""Deterministic answers: the same seed and body give the same words, another body gives others.

The answer quotes what was asked, in the language it was asked in, and goes on with sentences drawn by the
digest of the body until there is a word for each piece of the stream.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from ngx_agents.vertex.emulator import structured
from ngx_agents.vertex.emulator.generation import Config
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
COMMON_WORDS = _SPANISH | _ENGLISH
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
    """`es` or `en`: whose small words the beginning has more of; marks only Spanish has decide a tie."""
    return _language_of(text[:QUOTE_CHARACTERS])


@lru_cache(maxsize=4096)
def _language_of(text: str) -> str:
    words = _WORD.findall(text.lower())
    spanish = sum(map(_SPANISH.__contains__, words))
    english = sum(map(_ENGLISH.__contains__, words))
    if spanish == english:
        return "es" if any(mark in text for mark in "¿¡ñáéíóúÑÁÉÍÓÚ") else "en"
    return "es" if spanish > english else "en"


class Draw(msgspec.Struct, frozen=True, kw_only=True):
    """What decides an answer besides the prompt: the digest its words, `chunks` its length and, split, its pieces."""

    digest: int
    number: int
    chunks: int
    is_split: bool


def compose(prompt: Prompt, calls: tuple[Call, ...], draw: Draw, *, traffic: str) -> Answer:
    """An answer: words, JSON where a format was asked for, or `calls`, which say nothing.

    The whole is the same split or not. Stop sequences and the token bound may cut it short.
    """
    config = prompt.config
    thought_tokens = int((8 + draw.digest % 32) * config.thought_share)
    if config.thought_bound is not None:
        thought_tokens = min(thought_tokens, config.thought_bound)
    language = language_of(prompt.user_text)
    pieces: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    finish = "STOP"
    if calls:
        written = sum(len(call.name) + len(msgspec.json.encode(call.arguments)) for call in calls)
    else:
        pieces, finish = _cut(_pieces(prompt, language, draw), config)
        if prompt.begun:
            pieces = _rest(pieces, prompt.begun)
        if config.candidates > 1:
            others = _others(prompt, language, draw)
        written = sum(map(len, pieces)) + sum(map(len, others))
    return Answer(
        model=prompt.model,
        id=f"{draw.digest:08x}{draw.number:08x}",
        pieces=pieces,
        thought=_THOUGHT[language] if config.wants_thoughts and thought_tokens and not calls else None,
        calls=calls,
        finish=finish,
        prompt_tokens=prompt.tokens,
        output_tokens=tokens_of(written),
        thought_tokens=thought_tokens,
        traffic=traffic,
        details=prompt.details,
        cached=prompt.cached,
        others=others,
        queries=(prompt.user_text[:QUOTE_CHARACTERS],) if prompt.is_grounded else (),
    )


def _pieces(prompt: Prompt, language: str, draw: Draw) -> tuple[str, ...]:
    if prompt.config.mime != "text/plain":
        document = structured.text_of(prompt.config, prompt.user_text)
        size = max(1, -(-len(document) // draw.chunks)) if draw.is_split else len(document)
        return tuple(document[start : start + size] for start in range(0, len(document), size))
    opening = _opening(prompt, language)
    start = draw.digest % 8
    if not draw.is_split:
        return (f"{opening} {_filler_text(language, start, max(12, draw.chunks - len(opening.split())))}",)
    words = _WORD_AND_SPACE.findall(opening + " ")
    words.extend(_filler(language, start, max(12, draw.chunks - len(words))))
    words[-1] = words[-1].rstrip()
    return _split(words, draw.chunks)


def _rest(pieces: tuple[str, ...], begun: str) -> tuple[str, ...]:
    """What follows `begun`; all of it where the answer does not begin so."""
    if not "".join(pieces).startswith(begun):
        return pieces
    rest: list[str] = []
    known = len(begun)
    for piece in pieces:
        rest.append(piece[known:])
        known = max(0, known - len(piece))
    return tuple(piece for piece in rest if piece)


def _others(prompt: Prompt, language: str, draw: Draw) -> tuple[str, ...]:
    """The texts of the candidates after the first: each goes on with other sentences."""
    draws = (
        msgspec.structs.replace(draw, digest=draw.digest + number, is_split=False)
        for number in range(1, prompt.config.candidates)
    )
    return tuple(_cut(_pieces(prompt, language, each), prompt.config)[0][0] for each in draws)


def _cut(pieces: tuple[str, ...], config: Config) -> tuple[tuple[str, ...], str]:
    """What is left before the first stop sequence and within the token bound, and why it ends."""
    if config.stops:
        text = "".join(pieces)
        found = [at for stop in config.stops if (at := text.find(stop)) >= 0]
        if found:
            pieces, _ = _bounded(pieces, min(found))
    if config.max_output_tokens is None:
        return pieces, "STOP"
    return _bounded(pieces, 4 * config.max_output_tokens)


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


@lru_cache(maxsize=4096)
def _filler_text(language: str, start: int, count: int) -> str:
    return "".join(_filler(language, start, count)).rstrip()


def _split(words: list[str], chunks: int) -> tuple[str, ...]:
    total = len(words)
    chunks = min(chunks, total)
    return tuple("".join(words[i * total // chunks : (i + 1) * total // chunks]) for i in range(chunks))


def _bounded(pieces: tuple[str, ...], left: int) -> tuple[tuple[str, ...], str]:
    """The first `left` characters."""
    kept: list[str] = []
    for piece in pieces:
        if len(piece) > left:
            return (*kept, piece[:left]), "MAX_TOKENS"
        kept.append(piece)
        left -= len(piece)
    return tuple(kept), "STOP"
