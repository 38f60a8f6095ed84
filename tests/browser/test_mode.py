"""What the page says when the server is not well."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_the_page_says_that_answers_may_be_shorter_and_takes_it_back(chat, server):
    async def degrade(route):
        answer = await route.fetch()
        await route.fulfill(response=answer, headers={**answer.headers, "ngx-mode": "degraded-2"})

    await chat.open(server)
    state = chat.page.locator("#mode-state")
    assert await state.inner_text() == ""
    await chat.page.route("**/v1/**", degrade)
    await chat.send("Dame un consejo para dormir mejor.")
    await chat.page.wait_for_function("() => document.querySelector('#mode-state').dataset.mode === 'degraded-2'")
    assert "pueden ser más breves" in await state.inner_text()
    await chat.wait_until_ended()
    await chat.page.unroute_all(behavior="wait")  # an answer of the old way may still be under way
    await chat.send("¿Y para descansar mejor?")
    await chat.page.wait_for_function("() => document.querySelector('#mode-state').dataset.mode === 'normal'")
    assert await state.inner_text() == ""
