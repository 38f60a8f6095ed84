"""Which meters keep turns out, as this instance knows it: nothing is asked on the way of a turn.

What this instance finds spent it knows at once; what others spent, or gave back, it hears every `every_s` from the
journal, which finds the spent ones by an index. While the journal cannot be asked, what is known goes on to hold. One
task follows, entered by the ledger; everybody reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ngx_agents.clock import Clock
from ngx_agents.errors import NgxError
from ngx_agents.state.commands import Meter
from ngx_agents.state.commands import SpentMeters as ListSpent
from ngx_agents.state.journal import Journal
from ngx_agents.telemetry.log import event_log

log = event_log("state")
EVERY_S = 2.0
MAX_KNOWN = 10_000
"""So many spent meters are known beforehand; of those beyond, each instance learns when it wants to spend of them."""
MAX_PREFIXES = 1_000


def no_prefixes() -> Sequence[str]:
    return ()


class SpentMeters:
    def __init__(self, journal: Journal, *, clock: Clock, every_s: float = EVERY_S) -> None:
        self._journal = journal
        self._clock = clock
        self._every_s = every_s
        self._leased: dict[str, int] = {}
        self._found_here: dict[str, int] = {}
        self.prefixes: Callable[[], Sequence[str]] = no_prefixes
        """Whose meters are followed: those that begin so."""

    def __len__(self) -> int:
        return len(self._leased)

    def leased(self, name: str) -> int:
        """What is taken of a meter that is spent; 0 for any other."""
        return self._leased.get(name, 0)

    def found(self, name: str, leased: int) -> None:
        """This instance was refused, or took the last of it."""
        if name in self._leased or len(self._leased) < MAX_KNOWN:
            self._leased[name] = self._found_here[name] = leased

    async def run(self) -> None:
        while True:
            await self._clock.sleep(self._every_s)
            await self.refresh()

    async def refresh(self) -> None:
        """What was found here while the journal was asked is newer than its answer."""
        prefixes = tuple(self.prefixes())[:MAX_PREFIXES]
        self._found_here.clear()
        found: tuple[Meter, ...] = ()
        try:
            if prefixes:
                found = await self._journal.query(ListSpent(prefixes=prefixes, limit=MAX_KNOWN))
        except NgxError as error:
            log.warning("budget.not_followed", code=error.code)
            return
        self._leased = {one.name: one.leased for one in found} | self._found_here
