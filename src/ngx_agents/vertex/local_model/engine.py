"""llama.cpp in this process: one answer at a time, one more may wait, the next is refused.

A thread of its own runs the native code, which releases the GIL; the event loop takes its chunks from a queue that
`max_tokens` bounds. Whoever leaves an answer early stops it at its next token. llama.cpp also opens an HTTP port of its
own on loopback: it is locked with a key that nobody is told.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ngx_agents.clock import Clock
from ngx_agents.errors import Overloaded
from ngx_agents.vertex.local_model.installed import MODEL_NAME
from ngx_agents.vertex.local_model.prompting import ChatQuestion, Message, native_body
from ngx_agents.vertex.local_model.settings import MAX_PLACES, LocalModelSettings

FAILED = b'{"error":{"message":"the local model failed","type":"server_error","code":500}}'
FIRST_GUESS_S = 2.0  # of an answer's time, until one was measured


class Engine:
    """Entering loads the weights and reads the standing examples once; leaving stops what still runs."""

    def __init__(self, weights: Path, settings: LocalModelSettings, clock: Clock) -> None:
        self._weights = weights
        self._settings = settings
        self._clock = clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="llama")
        self._answers: dict[Future[None], _Answer] = {}
        self._typical_s = FIRST_GUESS_S
        self._native: Any = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._native = await loop.run_in_executor(self._thread, _load, self._weights, self._settings)
        greeting = ChatQuestion(messages=[Message("user", "Hi")], max_tokens=1)
        async for _ in self.answer(native_body(greeting, max_prompt_bytes=self._settings.max_prompt_bytes)):
            pass
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for answer in self._answers.values():
            answer.is_left = True
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)
        self._native = None

    async def answer(self, body: bytes) -> AsyncGenerator[bytes]:
        """The chunks of one streamed completion, JSON each. Raises Overloaded when both places are taken."""
        if len(self._answers) >= MAX_PLACES:
            raise Overloaded("the local model is busy", retry_after_s=self._typical_s)
        answer = _Answer(body, self._native, asyncio.get_running_loop())
        future = self._thread.submit(answer.run)
        self._answers[future] = answer
        future.add_done_callback(answer.call_back_with(self._ended))
        began_s = self._clock.monotonic_s()
        try:
            while (chunk := await answer.chunks.get()) is not None:
                yield chunk
            self._typical_s += 0.2 * (self._clock.monotonic_s() - began_s - self._typical_s)
        finally:
            answer.is_left = True
            future.cancel()

    def _ended(self, future: Future[None]) -> None:
        self._answers.pop(future, None)


class _Answer:
    """One completion, between the thread that makes it and the loop that reads it."""

    def __init__(self, body: bytes, native: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.is_left = False
        self._body = body
        self._native = native
        self._loop = loop

    def run(self) -> None:
        try:
            if not self.is_left:
                self._native.handle_chat_completions(self._body, self._take)
        except RuntimeError:  # what the binding makes of a C++ exception
            self._loop.call_soon_threadsafe(self.chunks.put_nowait, FAILED)
        finally:
            self._loop.call_soon_threadsafe(self.chunks.put_nowait, None)

    def call_back_with(self, ended: Callable[[Future[None]], None]) -> Callable[[Future[None]], None]:
        """`ended`, called on the loop from whichever thread ends the answer."""

        def call(future: Future[None]) -> None:
            self._loop.call_soon_threadsafe(ended, future)

        return call

    def _take(self, chunk: bytes | str) -> bool:
        """True tells llama.cpp to stop."""
        data = chunk.encode() if isinstance(chunk, str) else chunk
        self._loop.call_soon_threadsafe(self.chunks.put_nowait, data)
        return self.is_left


def _load(weights: Path, settings: LocalModelSettings) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.model_alias = {MODEL_NAME}
    params.n_ctx = settings.context_tokens
    params.n_parallel = 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads
    params.n_threads_http = 1
    params.cache_ram_mib = 0
    params.warmup = False
    params.ui = False
    params.verbosity = -1
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [secrets.token_urlsafe(32)]
    return xllamacpp.Server(params)
