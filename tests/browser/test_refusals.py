"""What the user sees and can do when the server says no."""

from __future__ import annotations

import json
import time

import jwt
import pytest

from tests.browser.serving import start_server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SECRET = "a secret of this test, thirty-two bytes at least"
TALK = "Dame un consejo para dormir mejor."


@pytest.fixture(scope="session")
def guarded_server(tmp_path_factory):
    with start_server(tmp_path_factory.mktemp("guarded"), auth="jwt", jwt_secret=SECRET) as base_url:
        yield base_url


async def test_a_server_that_asks_who_it_is_gets_the_token_and_only_this_tab_keeps_it(chat, guarded_server):
    token = jwt.encode({"sub": "ana", "tenant": "t", "exp": int(time.time()) + 600}, SECRET, "HS256")
    await chat.page.goto(guarded_server)
    dialog = chat.page.get_by_role("dialog")
    await dialog.wait_for()
    assert "Clave de acceso" in await dialog.inner_text()
    await chat.page.fill("#token", token)
    await chat.page.keyboard.press("Enter")
    await dialog.wait_for(state="detached")
    await chat.send(TALK)
    await chat.wait_until_ended()
    assert await chat.answer.locator(".badge").get_attribute("data-source") == "template"
    assert token not in await chat.page.evaluate("() => JSON.stringify(localStorage)")
    assert token in await chat.page.evaluate("() => JSON.stringify(sessionStorage)")


async def test_a_wrong_token_is_asked_for_again(chat, guarded_server):
    await chat.page.goto(guarded_server)
    await chat.page.fill("#token", "wrong")
    await chat.page.keyboard.press("Enter")
    await chat.page.wait_for_function("() => document.querySelector('#token')?.value === ''")
    assert await chat.page.get_by_role("dialog").is_visible()


@pytest.mark.parametrize(
    ("chat", "words"),
    [
        ({"locale": "es-MX"}, ["Hay mucha gente ahora mismo.", "Vuelve a intentarlo en 7 s.", "Reintentar"]),
        ({"locale": "en-US"}, ["It is very busy right now.", "Try again in 7 s.", "Try again"]),
    ],
    indirect=["chat"],
)
async def test_a_refusal_is_told_by_its_code_in_the_users_language_and_can_be_retried(chat, server, words):
    problem = {"title": "Service Unavailable", "status": 503, "code": "overloaded", "detail": "internal words"}

    async def refuse(route):
        headers = {"retry-after": "7"}
        body = json.dumps({**problem, "request_id": "r", "retry_after_s": 7.0})
        await route.fulfill(status=503, headers=headers, content_type="application/problem+json", body=body)

    await chat.open(server)
    await chat.page.route("**/turns", refuse, times=1)
    await chat.send(TALK)
    notice = chat.page.locator(".notice")
    text = await notice.inner_text()
    assert all(word in text for word in words)
    assert "internal words" not in text
    await notice.get_by_role("button").click()
    await chat.page.locator(".badge").wait_for()
    assert await chat.page.locator(".question").count() == 1
    assert await chat.shown() == await chat.stored()


async def test_a_refused_emergency_is_told_whom_to_call(chat, server):
    problem = {"status": 503, "code": "read_only", "request_id": "r", "first_aid": "**Llama al 112** ahora."}

    async def refuse(route):
        await route.fulfill(status=503, content_type="application/problem+json", body=json.dumps(problem))

    await chat.open(server)
    await chat.page.route("**/turns", refuse, times=1)
    await chat.send("me duele mucho el pecho")
    await chat.page.locator(".notice").wait_for()
    assert await chat.page.locator("strong", has_text="Llama al 112").is_visible()


async def test_a_code_nobody_has_words_for_is_shown_as_it_is(chat, server):
    async def refuse(route):
        await route.fulfill(status=418, content_type="application/problem+json", body='{"code": "teapot"}')

    await chat.open(server)
    await chat.page.route("**/turns", refuse, times=1)
    await chat.send(TALK)
    assert "(teapot)" in await chat.page.locator(".notice").inner_text()


async def test_a_conversation_that_is_gone_says_so(chat, server):
    await chat.open(server)
    await chat.send(TALK)
    await chat.wait_until_ended()
    address = chat.page.url
    await chat.page.evaluate("id => fetch(`/v1/conversations/${id}`, { method: 'DELETE' })", chat.conversation_id)
    await chat.page.goto("about:blank")
    await chat.page.goto(address)
    assert "Ya no existe, o no es tuyo." in await chat.page.locator(".notice").inner_text()
