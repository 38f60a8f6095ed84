"""Where sentences end in text that comes in pieces, and how such pieces are handed on by the sentence.

Every piece that is handed on wakes all who stand between the wire and the user. Who holds text back until its sentence
has ended (the team does, for its screen) loses nothing when the pieces of a sentence come together.
"""

from __future__ import annotations

import re

ENDS = (". ", "! ", "? ", "… ", "\n", ".** ")
END = re.compile("|".join(re.escape(mark) for mark in ENDS))
LONGEST_END = max(len(mark) for mark in ENDS)
MOST_HELD = 200  # characters that are kept back at most


class Joined:
    """The pieces of one answer. The first is handed on as it comes: it tells that the answer has begun."""

    __slots__ = ("_has_begun", "_held", "_seen")

    def __init__(self) -> None:
        self._held = ""
        self._seen = ""  # the end of what came before, where the beginning of a mark may be
        self._has_begun = False

    def feed(self, text: str) -> str:
        """What is handed on now; empty while a sentence is unfinished."""
        seen = self._seen + text
        self._seen = seen[1 - LONGEST_END :]
        held = self._held + text
        if self._has_begun and len(held) < MOST_HELD and END.search(seen) is None:
            self._held = held
            return ""
        self._has_begun, self._held = self._has_begun or bool(held), ""
        return held

    def rest(self) -> str:
        """What is left, once the answer is complete."""
        held, self._held = self._held, ""
        return held
