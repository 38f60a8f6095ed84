"""The chat page as its user sees it."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Locator, Page

TIMEOUT_MS = 15_000
RENDER = """async (text) => {
  const here = document.querySelector("script[type=module]").src;
  const { renderMarkdown } = await import(new URL("markdown.js", here));
  return renderMarkdown(text).textContent;
}"""


class ChatPage:
    """`requests` are all that the page made; `faults` its uncaught errors and console errors."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.faults: list[str] = []
        page.set_default_timeout(TIMEOUT_MS)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda line: line.type == "error" and self.faults.append(line.text))

    async def open(self, base_url: str, path: str = "/") -> None:
        await self.page.goto(base_url + path)
        await self.page.locator("#agent-select option").first.wait_for(state="attached")

    async def send(self, text: str) -> None:
        await self.page.fill("#composer-text", text)
        await self.page.press("#composer-text", "Enter")

    @property
    def answer(self) -> Locator:
        """The newest answer."""
        return self.page.locator(".answer").last

    @property
    def prose(self) -> Locator:
        return self.answer.locator(".prose")

    async def wait_for_text(self, at_least: int = 1) -> str:
        """The text of the newest answer once it has that many characters."""
        await self.page.wait_for_function(
            "n => [...document.querySelectorAll('.answer .prose')].at(-1)?.textContent.length >= n", arg=at_least
        )
        return await self.prose.inner_text()

    async def wait_until_ended(self) -> None:
        await self.page.locator('.answer[data-state="ended"]').last.wait_for()
        await self.page.locator("#send").wait_for(state="visible")

    async def api(self, path: str) -> Any:
        """What the server says, asked by the page itself."""
        return await self.page.evaluate("path => fetch(path).then((reply) => reply.json())", path)

    @property
    def conversation_id(self) -> str:
        match = re.search(r"#/c/([\w-]+)$", self.page.url)
        assert match is not None, self.page.url
        return match[1]

    async def shown(self) -> str:
        """The text of the newest answer, exactly as it stands on the page."""
        return await self.prose.text_content() or ""

    async def stored(self) -> str:
        """The text of the newest answer as the server stored it, put through the page's own rendering."""
        messages = await self.api(f"/v1/conversations/{self.conversation_id}/messages")
        text = [message["text"] for message in messages["items"] if message["role"] == "assistant"][-1]
        return await self.page.evaluate(RENDER, text)

    def foreign_requests(self) -> list[str]:
        home = urlsplit(self.page.url).netloc
        return [
            url
            for url in self.requests
            if urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).netloc != home
        ]


def words(text: str) -> list[str]:
    """Text without what Markdown and layout add."""
    return re.findall(r"\w+", text)
