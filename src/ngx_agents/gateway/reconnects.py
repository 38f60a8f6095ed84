"""When clients whose stream broke come back: each at a moment of its own, so that all of them together are no wave.

Every stream begins with a `retry:` of its own, because a server that is killed says nothing more; one that sends its
listeners elsewhere says it again.
"""

from __future__ import annotations

from ngx_agents.clock import Rng
from ngx_agents.telemetry.metrics import Metrics

LEAST_S = 0.1
PER_S = 500.0  # how many may come back within a second: each costs an instance about a millisecond


def reconnect_ms(open_streams: int, chance: float) -> int:
    """Milliseconds until a client may come back. `chance` is from 0 up to 1."""
    return int(1000 * (LEAST_S + chance * open_streams / PER_S))


class Reconnects:
    """Counts the open streams of this process, and tells each when to come back."""

    def __init__(self, metrics: Metrics, rng: Rng) -> None:
        self._rng = rng
        self._open_streams = 0
        self._gauge = metrics.gauge("ngx_streams_open", "Event streams that clients have open.").labels()

    def opened(self) -> None:
        self._count(1)

    def closed(self) -> None:
        self._count(-1)

    def line(self) -> bytes:
        """The line that leads the next frame."""
        return b"retry: %d\n" % reconnect_ms(self._open_streams, self._rng.uniform(0.0, 1.0))

    def _count(self, change: int) -> None:
        self._open_streams += change
        self._gauge.set(self._open_streams)
