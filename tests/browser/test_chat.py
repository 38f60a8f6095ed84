from __future__ import annotations

import asyncio
import json

import pytest

from tests.browser.page_of_chat import words

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PLAN = "Quiero correr mi primer maratón en 16 semanas, 4 días por semana. ¿Me haces un plan?"
TALK = "Dame un consejo para mantener la constancia y el hábito de entrenar."


async def test_an_answer_streams_in_and_ends_with_the_stored_text_and_its_source(chat, slow_server):
    await chat.open(slow_server)
    await chat.send(TALK)
    early = await chat.wait_for_text()
    assert await chat.page.locator("#stop").is_visible()
    await chat.wait_until_ended()
    whole = await chat.prose.inner_text()
    assert len(whole) > len(early)
    assert await chat.shown() == await chat.stored()
    assert await chat.answer.locator(".badge").get_attribute("data-source") == "model"
    assert await chat.answer.get_attribute("data-agents")
    assert chat.faults == []


async def test_the_badge_explains_who_wrote_the_answer(chat, server):
    await chat.open(server)
    await chat.send(TALK)
    await chat.wait_until_ended()
    await chat.answer.locator(".badge summary").click()
    assert "Lo escribió un modelo de lenguaje (" in await chat.answer.locator(".badge .why").inner_text()
    await chat.page.keyboard.press("Escape")
    assert not await chat.answer.locator(".badge .why").is_visible()


async def test_a_plan_comes_as_a_card_that_opens_to_its_weeks_and_downloads_as_json(chat, server):
    await chat.open(server)
    await chat.send(PLAN)
    await chat.wait_until_ended()
    card = chat.answer.locator('.artifact[data-kind="TrainingPlan"]')
    assert "Plan de entrenamiento" in await card.locator("summary").first.inner_text()
    await card.locator("summary").first.click()
    await card.locator(".download").wait_for()
    rows = await card.locator(".load + .table-wrap tbody tr").count()
    async with chat.page.expect_download() as waiting:
        await card.locator(".download").click()
    download = await waiting.value
    path = await download.path()
    assert download.suggested_filename.endswith(".json")
    saved = json.loads(path.read_text())
    assert (saved["kind"], len(saved["data"]["weeks"])) == ("TrainingPlan", rows)
    assert rows >= 4
    assert chat.faults == []


async def test_the_answer_is_read_out_politely_and_only_once(chat, server):
    await chat.open(server)
    await chat.send(TALK)
    await chat.wait_until_ended()
    announcer = chat.page.locator("#announcer")
    assert await announcer.get_attribute("aria-live") == "polite"
    assert words(await announcer.inner_text()) == words(await chat.prose.inner_text())


async def test_stop_ends_the_turn_and_keeps_what_was_said(chat, slow_server):
    await chat.open(slow_server)
    await chat.send(TALK)
    await chat.wait_for_text(20)
    await chat.page.click("#stop")
    await chat.wait_until_ended()
    said = await chat.prose.inner_text()
    assert await chat.answer.locator(".remark").inner_text() == "Respuesta detenida."
    await chat.page.reload()
    await chat.wait_for_text()
    assert words(await chat.prose.inner_text())[: len(words(said)) - 1] == words(said)[:-1]
    assert await chat.page.locator("#send").is_visible()


async def test_a_reload_in_mid_answer_takes_the_running_turn_up_again(chat, slow_server):
    await chat.open(slow_server)
    await chat.send(TALK)
    await chat.wait_for_text(40)
    await chat.page.reload()
    await chat.page.locator("#stop").wait_for(state="visible")
    await chat.wait_until_ended()
    assert await chat.page.locator(".question").count() == 1
    assert await chat.page.locator(".answer").count() == 1
    assert await chat.shown() == await chat.stored()


async def test_a_reload_keeps_the_conversation_its_source_and_its_plan(chat, server):
    await chat.open(server)
    await chat.send(PLAN)
    await chat.wait_until_ended()
    before = await chat.prose.inner_text()
    await chat.page.reload()
    await chat.wait_for_text(len(before))
    assert await chat.prose.inner_text() == before
    assert await chat.answer.locator(".badge").get_attribute("data-source") == "model"
    assert await chat.answer.locator('.artifact[data-kind="TrainingPlan"]').count() == 1


@pytest.mark.parametrize(
    "attack",
    [
        "<img src=x onerror=\"document.title='pwned'\">",
        "<script>document.title='pwned'</script>",
        "[haz clic](javascript:document.title='pwned')",
        "![x](http://203.0.113.1/x.png)",
        '<svg onload="document.title=\'pwned\'"><a href="http://203.0.113.1/">x</a></svg>',
    ],
)
async def test_hostile_text_stays_text_in_question_answer_title_and_after_reload(chat, server, attack):
    await chat.open(server)
    await chat.send(f"Dame un consejo sobre {attack}")
    await chat.wait_until_ended()
    await chat.page.reload()
    await chat.wait_for_text()
    assert attack in await chat.page.locator(".question").inner_text()
    assert await chat.page.title() == "NGX Agents"
    assert await chat.page.locator(".prose :is(img, script, svg, iframe)").count() == 0
    assert await chat.page.locator('.prose a[href^="javascript:"]').count() == 0
    assert chat.foreign_requests() == []
    assert chat.faults == []


async def test_a_link_of_an_answer_opens_elsewhere_and_takes_no_handle_along(chat, server):
    await chat.open(server)
    await chat.send("Dame un consejo, mira https://example.org/guia antes.")
    await chat.wait_until_ended()
    link = chat.prose.locator('a[href="https://example.org/guia"]')
    assert await link.get_attribute("rel") == "noopener noreferrer"
    assert await link.get_attribute("target") == "_blank"


async def test_no_request_leaves_the_origin(chat, server):
    await chat.open(server)
    await chat.send(PLAN)
    await chat.wait_until_ended()
    assert len(chat.requests) > 20
    assert chat.foreign_requests() == []


async def test_an_agent_that_the_user_picks_is_the_one_that_answers(chat, server):
    await chat.open(server)
    await chat.page.select_option("#agent-select", "precision_nutrition_architect")
    await chat.send("Hola, ¿me ayudas?")
    await chat.wait_until_ended()
    assert await chat.answer.get_attribute("data-agents") == "precision_nutrition_architect"


async def test_a_message_sent_while_the_history_still_loads_comes_after_it(chat, server):
    await chat.open(server)
    await chat.send(TALK)
    await chat.wait_until_ended()

    is_sent = asyncio.Event()

    async def late(route):
        await is_sent.wait()
        await route.continue_()

    await chat.page.route("**/messages", late, times=1)
    await chat.page.reload()
    await chat.send("¿Y para dormir mejor?")
    assert await chat.page.locator(".question").count() == 0
    is_sent.set()
    await chat.page.locator(".answer").nth(1).wait_for()
    await chat.wait_until_ended()
    assert await chat.page.locator(".question p").all_text_contents() == [TALK, "¿Y para dormir mejor?"]
