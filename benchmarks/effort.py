"""How long and how often things are measured."""

from __future__ import annotations

import msgspec


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """`seconds` of load in a sample, `pairs` of samples; `scale` shrinks counts of sockets and turns."""

    seconds: float = 5.0
    pairs: int = 3
    scale: float = 1.0

    @property
    def starts(self) -> int:
        return 2 * self.pairs - 1

    def count(self, full: int) -> int:
        return max(1, int(full * self.scale))


QUICK = Effort(seconds=1.0, pairs=1, scale=0.1)
