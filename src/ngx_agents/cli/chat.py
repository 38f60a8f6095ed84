"""`ngx chat`: a conversation with the team in the terminal, over the same HTTP that every client uses.

One loop asks and shows; while a turn runs, Ctrl-C asks the server to cancel it and a second one leaves.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from contextlib import aclosing, suppress
from typing import Any

from ngx_agents.cli.chat_client import ChatClient
from ngx_agents.cli.chat_screen import Screen
from ngx_agents.cli.flags import add_config_flags, loaded_config
from ngx_agents.errors import ConfigError, NgxError

DETAILS = """\
Streams the answer as it is made and tells where it came from (model, cache, local or template). A dropped
connection is taken up where it was. Ctrl-C cancels the running turn, twice leaves; Ctrl-D leaves.

While talking:
  /new     starts a new conversation
  /quit    leaves

examples:
  ngx chat                                          with the server on this machine
  ngx chat --url https://agents.example.com         elsewhere; the key from NGX_API_KEY or --api-key
  ngx chat --once "Plan my week of training"        one question: the answer on stdout, its source on stderr
"""
INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--once", metavar="TEXT", help="ask this, print the answer, leave")
    parser.add_argument("--conversation", metavar="ID", help="go on with this conversation")
    parser.add_argument("--agent", metavar="ID", help="ask this agent instead of letting the team choose")
    parser.add_argument("--locale", metavar="LOCALE", help="language of the answer, such as es-MX")
    add_config_flags(parser, "client.url", "client.api_key")


def run(args: argparse.Namespace) -> int:
    if args.once is not None and not args.once.strip():
        raise ConfigError("--once needs a text to ask")
    client = loaded_config(args, checked=False).config.client
    options = {name: getattr(args, name) for name in ("agent", "locale") if getattr(args, name)}
    chat = Chat(ChatClient(client.url, api_key=client.api_key), options, conversation_id=args.conversation)
    with asyncio.Runner() as runner:
        try:
            runner.run(chat.open())
            return runner.run(chat.ask(args.once)) if args.once is not None else _converse(runner, chat)
        finally:
            runner.run(chat.close())


def _converse(runner: asyncio.Runner, chat: Chat) -> int:
    with suppress(ImportError):
        import readline  # noqa: F401  # line editing and history in input()
    while True:
        try:
            text = input("› " if sys.stdin.isatty() else "").strip()
        except (EOFError, KeyboardInterrupt) as exc:
            print(end="\n" if sys.stdin.isatty() else "")
            return INTERRUPTED if isinstance(exc, KeyboardInterrupt) else 0
        if text == "/quit":
            return 0
        if text == "/new":
            runner.run(chat.start_anew())
        elif text.startswith("/"):
            print("there is /new and /quit")
        elif text:
            code = _ask(runner, chat, text)
            if code == INTERRUPTED:
                return code


def _ask(runner: asyncio.Runner, chat: Chat, text: str) -> int:
    try:
        return runner.run(chat.ask(text))
    except NgxError as exc:
        # the conversation goes on: the next message may be fine, the server back
        print(f"ngx: {exc}", file=sys.stderr)
        return 1


class Chat:
    """One conversation, turn by turn."""

    def __init__(self, client: ChatClient, options: dict[str, Any], *, conversation_id: str | None) -> None:
        self._client = client
        self._options = options
        self._conversation_id = conversation_id or ""
        self._turn_id = ""
        self._interrupts = 0

    async def open(self) -> None:
        await self._client.__aenter__()
        if not self._conversation_id:
            await self.start_anew()

    async def close(self) -> None:
        await self._client.__aexit__(None, None, None)

    async def start_anew(self) -> None:
        self._conversation_id = await self._client.new_conversation()

    async def ask(self, text: str) -> int:
        """Shows one turn; returns 0 when it completed, 1 when failed or cancelled, 130 when told to leave."""
        screen = Screen(sys.stdout, sys.stderr)
        self._turn_id, self._interrupts = "", 0
        loop = asyncio.get_running_loop()
        outcome = ""
        try:
            async with asyncio.TaskGroup() as group:
                spinner = group.create_task(screen.spin())
                asking = group.create_task(self._stream(text, screen))
                loop.add_signal_handler(signal.SIGINT, self._interrupt, group, [spinner, asking])
                with suppress(asyncio.CancelledError):
                    outcome = await asking
                spinner.cancel()
        except* NgxError as failures:
            raise failures.exceptions[0] from None
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            screen.stop_waiting()
        if self._interrupts > 1:
            return INTERRUPTED
        return 0 if outcome == "turn.completed" else 1

    async def _stream(self, text: str, screen: Screen) -> str:
        outcome = ""
        body = {"text": text, **self._options}
        async with aclosing(self._client.turn(self._conversation_id, body)) as events:
            async for event in events:
                if not self._turn_id:
                    self._turn_id = str(event.data.get("turn_id", ""))
                    if self._interrupts:
                        await self._client.cancel(self._turn_id)
                screen.show(event)
                outcome = event.name
        return outcome

    def _interrupt(self, group: asyncio.TaskGroup, tasks: list[asyncio.Task[Any]]) -> None:
        self._interrupts += 1
        if self._interrupts > 1:
            for task in tasks:
                task.cancel()
        elif self._turn_id:
            tasks.append(group.create_task(self._client.cancel(self._turn_id)))
