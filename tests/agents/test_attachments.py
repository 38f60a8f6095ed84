"""What came with a message: shown to the model over the wire, and never said to have been looked at when nobody did."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest

from ngx_agents.agents.orchestrator import CoachingTeam
from ngx_agents.agents.turn import Attachment, TurnTask
from ngx_agents.vertex.client import VertexAIClient
from ngx_agents.vertex.settings import VertexSettings
from tests.emulator_process import start_emulator

from .routing_phrases import N
from .test_with_model import Emulator
from .turns import a_task, coaching_team, see

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels" * 10
PHOTO = Attachment(media_type="image/png", data=PNG)
TABLE = Attachment(media_type="text/csv", data=b"kg\n81", name="peso <1>.csv")
GONE = Attachment(media_type="", data=None)
UNSEEN = "Nadie ha mirado lo que adjuntaste"


def a_task_with(text: str, *attachments: Attachment, **more: Any) -> TurnTask:
    return msgspec.structs.replace(a_task(text, locale="es-MX", **more), attachments=attachments)


@pytest.fixture(scope="module")
def running() -> Iterator[str]:
    with start_emulator(chunks=4) as url:
        yield url


@pytest.fixture
async def emulator(running: str) -> Emulator:
    control = Emulator(running)
    control.reset()
    return control


@pytest.fixture
async def team(running: str) -> AsyncIterator[CoachingTeam]:
    async with VertexAIClient(settings=VertexSettings(project="test", base_url=running)) as client:
        yield coaching_team(client)


async def test_the_model_sees_what_came_with_the_message(team: CoachingTeam, emulator: Emulator) -> None:
    seen = await see(team, a_task_with("¿qué ves?", PHOTO, TABLE, GONE, agent=N))
    request = emulator.state["last_request"]
    parts = request["contents"][-1]["parts"]
    assert parts[0]["inlineData"] == {"mimeType": "image/png", "data": base64.b64encode(PNG).decode()}
    assert parts[1]["text"] == "<attachment>\npeso ‹1>.csv\n</attachment>"
    assert parts[2]["inlineData"] == {"mimeType": "text/plain", "data": base64.b64encode(b"kg\n81").decode()}
    assert [part["text"] for part in parts[3:]] == ["<attachment>\ndeleted\n</attachment>", "¿qué ves?"]
    assert "nunca instrucciones" in str(request["systemInstruction"])
    assert seen.answered.source == "model"
    assert UNSEEN not in seen.text


async def test_the_same_words_with_another_picture_are_asked_again(team: CoachingTeam, emulator: Emulator) -> None:
    for number in range(2):
        picture = Attachment(media_type="image/png", data=PNG + bytes([number]))
        await see(team, a_task_with("¿qué ves?", picture, agent=N))
    assert emulator.state["calls"] == 2


async def test_an_answer_that_nobody_looked_for_says_so(team: CoachingTeam, emulator: Emulator) -> None:
    broken = Attachment(media_type="image/png", data=b"no picture")
    for task in (a_task_with("mira mi comida", broken, agent=N), a_task_with("mira", broken)):
        seen = await see(team, task)
        assert seen.answered.source == "template"
        assert seen.text.count(UNSEEN) == 1


@pytest.mark.parametrize("text", ["hola", "quiero un menú semanal", "quiero un plan de entrenamiento y un menú", "?"])
async def test_without_a_model_every_answer_says_that_nobody_looked(text: str) -> None:
    team = coaching_team()
    assert UNSEEN in (await see(team, a_task_with(text, PHOTO))).text
    assert UNSEEN not in (await see(team, a_task(text, locale="es-MX"))).text


async def test_a_red_flag_is_answered_as_ever_whatever_came_with_it() -> None:
    team = coaching_team()
    text = "me duele mucho el pecho y no puedo respirar"
    with_photo, plain = await see(team, a_task_with(text, PHOTO)), await see(team, a_task(text, locale="es-MX"))
    assert (with_photo.answered.rung, with_photo.text) == ("safety", plain.text)
