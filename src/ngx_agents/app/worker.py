"""A worker process: `python -m ngx_agents.app.worker LISTENER PRIVATE CHANNEL`, started by `app.supervisor` alone.

The arguments are inherited file descriptors: the socket that all workers share, this one's own (where other instances
reach it), and the channel to the supervisor. When the channel ends, the supervisor is gone, and so does the worker go.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import deque

import uvloop

from ngx_agents.app.http_server import HttpServer, banner, serve_on
from ngx_agents.app.lifespan import running
from ngx_agents.app.worker_channel import Beat, Counted, Exposition, Ready, Start, from_supervisor, tell, told
from ngx_agents.clock import Clock, SystemClock
from ngx_agents.errors import ConfigError, NgxError
from ngx_agents.telemetry.log import configure, event_log
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.telemetry.snapshots import snapshot_of

BEAT_S = 1.0
SNAPSHOT_EVERY = 2  # beats: what a killed worker counted since is lost
ANSWER_S = 2.0
log = event_log("app")


class Link:
    """The worker's end of the channel. One task beats, one listens; requests for the metrics ask through it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, clock: Clock) -> None:
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._asked: deque[asyncio.Future[bytes]] = deque()
        self.metrics = Metrics()

    async def exposition(self) -> bytes:
        """What all workers have counted; what this one has, when the supervisor does not answer in time."""
        answer = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        try:
            async with asyncio.timeout(ANSWER_S):
                await tell(self._writer, Counted(snapshot=snapshot_of(self.metrics)))
                text: bytes = await answer
                return text
        except (TimeoutError, OSError):
            log.warning("worker.not_answered")
            return self.metrics.render()

    async def beat(self) -> None:
        """Until cancelled, or the supervisor is gone."""
        count, lag_s = 0, 0.0
        try:
            while True:
                snapshot = snapshot_of(self.metrics) if count % SNAPSHOT_EVERY == 0 else None
                await tell(self._writer, Beat(lag_s=lag_s, snapshot=snapshot))
                due_s = self._clock.monotonic_s() + BEAT_S
                await self._clock.sleep(BEAT_S)
                count, lag_s = count + 1, max(0.0, self._clock.monotonic_s() - due_s)
        except OSError:
            return

    async def listen(self, server: HttpServer) -> None:
        """Stops the server when the supervisor is gone."""
        try:
            while True:
                message = from_supervisor.decode(await told(self._reader))
                if isinstance(message, Exposition) and self._asked:
                    answer = self._asked.popleft()
                    if not answer.done():
                        answer.set_result(message.text)
        except EOFError:
            log.error("worker.orphaned")
            server.stop(1)


def main() -> None:
    """Exit codes are those of `ngx serve`."""
    listener, private, channel = (socket.socket(fileno=int(number)) for number in sys.argv[1:])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            code = runner.run(_work(listener, private, channel))
        except NgxError as error:
            sys.stderr.write(f"ngx: {error}\n")
            code = 2 if isinstance(error, ConfigError) else 1
    sys.exit(code)


async def _work(listener: socket.socket, private: socket.socket, channel: socket.socket) -> int:
    reader, writer = await asyncio.open_connection(sock=channel)
    start = from_supervisor.decode(await told(reader))
    assert isinstance(start, Start)
    configure(start.config.server.log_level)
    link = Link(reader, writer, SystemClock())
    async with running(start.config, address=start.address, exposition=link.exposition) as program:
        link.metrics = program.parts.metrics
        begun: asyncio.Future[HttpServer] = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as tasks:
            helping = [tasks.create_task(link.beat()), tasks.create_task(_listen(link, begun))]
            await tell(writer, Ready(banner=banner(program, listener.getsockname())))
            code = await serve_on([listener, private], program, ready=begun.set_result)
            for task in helping:
                task.cancel()
    return code


async def _listen(link: Link, begun: asyncio.Future[HttpServer]) -> None:
    await link.listen(await begun)


if __name__ == "__main__":
    main()
