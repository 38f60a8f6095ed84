from __future__ import annotations

import asyncio

import pytest

from tests.browser.cutting_proxy import cutting_proxy

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

TALK = "Dame un consejo para mantener la constancia y el hábito de entrenar."


async def test_cut_connections_lose_and_double_nothing(chat, slow_server):
    async with cutting_proxy(slow_server) as (base_url, proxy):
        await chat.open(base_url)
        proxy.stream_bytes = [700, 650, 651]
        await chat.send(TALK)
        await chat.wait_until_ended()
        assert proxy.stream_bytes == []
        assert await chat.shown() == await chat.stored()
        assert await chat.answer.locator(".badge").count() == 1
        resumed = [url for url in chat.requests if url.endswith("/events")]
        assert len(resumed) >= 3


async def test_the_page_says_that_it_reconnects_and_then_shows_the_end(chat, slow_server):
    async with cutting_proxy(slow_server) as (base_url, proxy):
        await chat.open(base_url)
        await chat.send(TALK)
        await chat.wait_for_text(20)
        proxy.is_refusing = True
        proxy.cut()
        await chat.page.locator("#link-state", has_text="Reconectando").wait_for()
        await asyncio.sleep(0.05)
        proxy.is_refusing = False
        await chat.wait_until_ended()
        assert await chat.shown() == await chat.stored()
        assert await chat.page.locator("#link-state").inner_text() == ""


async def test_a_message_whose_acknowledgement_was_lost_is_stored_once(chat, slow_server):
    async with cutting_proxy(slow_server) as (base_url, proxy):
        await chat.open(base_url)

        async def lose_the_answer(route):
            await route.fetch()
            await route.abort("connectionreset")

        await chat.page.route("**/turns", lose_the_answer, times=1)
        await chat.send(TALK)
        await chat.wait_until_ended()
        assert await chat.shown() == await chat.stored()
        messages = await chat.api(f"/v1/conversations/{chat.conversation_id}/messages")
        assert [message["role"] for message in messages["items"]] == ["user", "assistant"]
        assert proxy.connections > 0


async def test_a_server_that_cannot_be_reached_is_told_in_the_users_language_and_can_be_tried_again(chat, slow_server):
    async with cutting_proxy(slow_server) as (base_url, proxy):
        await chat.open(base_url)
        proxy.is_refusing = True
        proxy.cut()
        await chat.send(TALK)
        notice = chat.page.locator('#thread .notice[data-code="network"]')
        assert "No hay conexión con el servidor" in await notice.inner_text()
        proxy.is_refusing = False
        await notice.get_by_role("button", name="Reintentar").click()
        await chat.page.locator(".badge").wait_for()
        assert await chat.page.locator(".question").count() == 1
        assert await chat.shown() == await chat.stored()
