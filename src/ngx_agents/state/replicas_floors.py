"""How new a reader's answer must be at least: a position in the primary's log for each owner, kept in bounded memory.

What was written, or read from the primary, has no position yet: it waits until one that was asked for later arrives,
and that is its floor. Who is forgotten keeps the highest floor of all that were forgotten, so forgetting is safe.
"""

from __future__ import annotations

from collections import OrderedDict

from ngx_agents.state.model import Owner

MAX_OWNERS = 100_000


class Floors:
    """`of` only grows for an owner, but for None, which says that the position is not known yet."""

    def __init__(self, *, max_owners: int = MAX_OWNERS) -> None:
        self._max_owners = max_owners
        self._known: OrderedDict[Owner, int] = OrderedDict()
        self._pending: OrderedDict[Owner, int] = OrderedDict()
        self._lowest = 0
        self._mark = 0
        self._all_until_mark = 0  # everyone is pending up to this mark
        self._stamped_mark = 0

    @property
    def has_pending(self) -> bool:
        return bool(self._pending) or self._all_until_mark > self._stamped_mark

    def wrote(self, owner: Owner) -> None:
        """Something of the owner is in the primary by now, at a position that is not known yet."""
        self._mark += 1
        self._pending.pop(owner, None)
        self._pending[owner] = self._mark
        if len(self._pending) > self._max_owners:
            self.wrote_all()

    def wrote_all(self) -> None:
        """Something of anybody may be in the primary by now."""
        self._mark += 1
        self._pending.clear()
        self._all_until_mark = self._mark

    def saw(self, owner: Owner, place: int) -> None:
        """The owner was shown what stood at this position."""
        self._raise(owner, place)

    def mark(self) -> int:
        """To be taken before the position is asked for that `stamp` is then given."""
        return self._mark

    def stamp(self, mark: int, place: int) -> None:
        """Everything that was pending at `mark` lies at or below `place`."""
        self._stamped_mark = max(self._stamped_mark, mark)
        if mark >= self._all_until_mark > 0:
            self._lowest, self._all_until_mark = max(self._lowest, place, *self._known.values()), 0
            self._known.clear()  # nobody's is below it any more
        while self._pending:
            owner, at = next(iter(self._pending.items()))
            if at > mark:
                break
            del self._pending[owner]
            self._raise(owner, place)

    def of(self, owner: Owner) -> int | None:
        """The least position; None while it is not known."""
        if owner in self._pending or self._all_until_mark > self._stamped_mark:
            return None
        return self._known.get(owner, self._lowest)

    def _raise(self, owner: Owner, place: int) -> None:
        self._known[owner] = max(place, self._known.pop(owner, self._lowest))
        while len(self._known) > self._max_owners:
            self._lowest = max(self._lowest, self._known.popitem(last=False)[1])
