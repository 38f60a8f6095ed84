from __future__ import annotations

import pytest

from ngx_agents.vertex.local_model.language import is_english


@pytest.mark.parametrize(
    "text",
    [
        "Hello!",
        "What is protein?",
        "Why is sleep important?",
        "Can I have a burrito and a piña colada?",
        "My name is José, what can you do?",
        "Thanks",
        "ok",
        "No",
        "",
        "👍",
        "Is paella good for me?",
    ],
)
def test_english_and_what_is_no_language_passes(text: str) -> None:
    assert is_english(text)


@pytest.mark.parametrize(
    "text",
    [
        "Hola",
        "Gracias",
        "¿Qué es la proteína?",
        "Que es la proteina",
        "Dame un consejo para dormir mejor.",
        "¿Quién eres?",
        "quien eres",
        "Buenos dias",
        "Me duele la rodilla, ¿puedo correr?",
        "como puedo bajar de peso",
        "Warum schläft man ständig schlecht?",
        "Почему важен сон?",
        "水",
    ],
)
def test_other_languages_do_not(text: str) -> None:
    assert not is_english(text)
