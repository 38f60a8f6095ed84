from __future__ import annotations

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
TABLE = "Dame un consejo: | a | b |\n|---|---|\n| " + "palabra" * 40 + " | https://example.org/" + "x" * 200 + " |"

FOCUSED_NAME = """() => {
  const node = document.activeElement;
  if (node === document.body) return null;
  const label = node.labels?.[0];
  const text = label ? (label.firstElementChild ?? label).textContent : node.textContent.trim();
  return node.getAttribute("aria-label") || text || `nameless ${node.outerHTML}`;
}"""


async def width_overflow(chat) -> int:
    return await chat.page.evaluate(
        "() => Math.max(...['html', '#scroller'].map((at) => document.querySelector(at).scrollWidth)) - innerWidth"
    )


@pytest.mark.parametrize("chat", [PHONE], indirect=True)
async def test_on_a_phone_nothing_scrolls_sideways_however_long_the_words(chat, server):
    await chat.open(server)
    assert await width_overflow(chat) <= 0
    await chat.send(TABLE)
    await chat.wait_until_ended()
    assert await width_overflow(chat) <= 0
    await chat.send("Quiero correr mi primer maratón en 16 semanas, 4 días por semana. ¿Me haces un plan?")
    await chat.page.locator(".artifact > summary").first.click(timeout=30_000)
    await chat.page.locator(".fold > summary").first.click()
    assert await width_overflow(chat) <= 0


@pytest.mark.parametrize("chat", [PHONE], indirect=True)
async def test_on_a_phone_the_conversations_are_a_drawer_that_takes_and_returns_the_focus(chat, server):
    await chat.open(server)
    drawer = chat.page.locator("#sidebar")
    assert not await drawer.is_visible()
    await chat.page.click("#open-sidebar")
    await drawer.wait_for(state="visible")
    assert await chat.page.locator("#close-sidebar").evaluate("node => node === document.activeElement")
    await chat.page.keyboard.press("Escape")
    await drawer.wait_for(state="hidden")
    assert await chat.page.locator("#open-sidebar").evaluate("node => node === document.activeElement")


@pytest.mark.parametrize(
    ("chat", "title"),
    [({"locale": "es-MX"}, "¿En qué trabajamos hoy?"), ({"locale": "en-GB"}, "What shall we work on today?")],
    indirect=["chat"],
)
async def test_the_page_speaks_the_browsers_language(chat, server, title):
    await chat.open(server)
    assert await chat.page.locator("#welcome h2").inner_text() == title


async def test_a_chosen_language_stays_after_a_reload(chat, server):
    await chat.open(server)
    await chat.page.click('[data-language="en"]')
    await chat.page.reload()
    await chat.page.locator("#welcome h2", has_text="What shall we work on today?").wait_for()
    assert await chat.page.locator("html").get_attribute("lang") == "en"


async def test_enter_sends_and_shift_enter_begins_a_line(chat, server):
    await chat.open(server)
    box = chat.page.locator("#composer-text")
    await box.press_sequentially("Dame un consejo")
    await box.press("Shift+Enter")
    await box.press_sequentially("para dormir")
    assert await box.input_value() == "Dame un consejo\npara dormir"
    await box.press("Enter")
    assert await chat.page.locator(".question p").text_content() == "Dame un consejo\npara dormir"
    assert await box.input_value() == ""


async def test_every_control_has_a_name_and_can_be_reached_by_tab(chat, server):
    await chat.open(server)
    await chat.page.focus("#skip")
    names = []
    for _ in range(400):  # other tests leave conversations in the list
        await chat.page.keyboard.press("Tab")
        name = await chat.page.evaluate(FOCUSED_NAME)
        if name is None or names[:1] == [name]:
            break
        names.append(name)
    assert not [name for name in names if name.startswith("nameless")]
    for wanted in ("Nueva conversación", "Tu perfil", "Español", "Quién responde"):
        assert wanted in names


async def test_a_conversation_can_be_left_found_again_and_deleted(chat, server):
    await chat.open(server)
    await chat.send("Dame un consejo sobre hidratación")
    await chat.wait_until_ended()
    row = chat.page.locator("#conversation-list li", has_text="hidratación")
    await chat.page.click("#new-conversation")
    assert await chat.page.locator("#welcome").is_visible()
    await row.locator("a").click()
    await chat.wait_for_text()
    await row.hover()
    await row.get_by_role("button").click()
    await chat.page.get_by_role("dialog").get_by_role("button", name="Borrar").click()
    await row.wait_for(state="detached")
    assert await chat.page.locator("#welcome").is_visible()


async def test_the_profile_is_kept_whole(chat, server):
    await chat.open(server)
    await chat.page.click("#open-profile")
    await chat.page.fill("#profile-age", "41")
    await chat.page.fill("#profile-weight_kg", "72.5")
    await chat.page.select_option("#profile-experience", "intermediate")
    await chat.page.fill("#profile-allergies", "nueces, mariscos")
    await chat.page.get_by_role("button", name="Guardar").click()
    await chat.page.locator("dialog").wait_for(state="detached")
    profile = await chat.api("/v1/me/profile")
    assert (profile["age"], profile["weight_kg"], profile["experience"]) == (41, 72.5, "intermediate")
    assert profile["allergies"] == ["nueces", "mariscos"]
    await chat.page.click("#open-profile")
    assert await chat.page.input_value("#profile-allergies") == "nueces, mariscos"


async def test_a_suggestion_starts_a_conversation(chat, server):
    await chat.open(server)
    await chat.page.locator(".suggestion").first.click()
    await chat.page.locator(".answer").wait_for()
    assert "maratón" in await chat.page.locator(".question").inner_text()
    await chat.wait_until_ended()
