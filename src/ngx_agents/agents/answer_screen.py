"""The screen behind the model: no sentence that diagnoses or touches medication reaches the user.

Streaming holds back the sentence that is being written; a whole one is released, or replaced by a fixed one (once an
answer). What is looked for and what is said instead is content (`team/safety.toml`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ngx_agents.agents.language import Language
from ngx_agents.agents.safety_content import SafetyContent
from ngx_agents.agents.wording import normalise, without_emphasis
from ngx_agents.vertex.sentences import END, ENDS, LONGEST_END

MAX_HELD = 600  # characters; text without any sentence end is released in parts
_OVERLAP = 200  # kept back even then: longer than any pattern reaches
# where a sentence ends, with the space after it; each run of marks is looked at once, however long it is
_CUT = re.compile(r"(?:(?<![.!?…])[.!?…]++[\"'»”)*_]*+(?=\s)|\n)\s*")


class AnswerScreen:
    """Compiled once; `gate` makes the filter of one answer."""

    def __init__(self, content: SafetyContent) -> None:
        withheld = content.withheld
        self._anchors = withheld.anchors
        self._patterns = content.compiled("|".join(f"(?:{pattern})" for pattern in withheld.patterns))
        self._unless = content.compiled(withheld.unless)
        self._instead = {"es": withheld.es, "en": withheld.en}

    def gate(self, language: Language) -> SentenceGate:
        return SentenceGate(self, self._instead[language])

    def withholds(self, text: str) -> bool:
        """Whether any sentence in the text must not reach the user."""
        lower = " ".join(without_emphasis(text).lower().split())
        for anchor in self._anchors:
            if anchor in lower:
                break
        else:
            return False
        plain = normalise(text)
        return any(not self._unless.search(plain, 0, match.start()) for match in self._patterns.finditer(plain))


class SentenceGate:
    """Text in as it arrives, text out that may be shown. `withheld` counts the sentences that were not."""

    def __init__(self, screen: AnswerScreen, instead: str) -> None:
        self.withheld = 0
        self._screen = screen
        self._instead = instead
        self._held = ""

    def feed(self, text: str) -> str:
        """What may be shown now; empty while a sentence is unfinished."""
        known = len(self._held)
        held = self._held = self._held + text
        # what was held has no end in it: only a mark that the new text completes can be one
        has_end = END.search(held, max(0, known - LONGEST_END + 1)) is not None
        end = max(held.rfind(mark) + len(mark) for mark in ENDS if mark in held) if has_end else 0
        if not end:
            if len(held) < MAX_HELD:
                return ""
            end = held.rfind(" ", 0, len(held) - _OVERLAP) + 1
        self._held = held[end:]
        return self._screened(held[:end])

    def finish(self) -> str:
        """The rest, once the answer is complete."""
        rest, self._held = self._held, ""
        return self._screened(rest)

    def discard(self) -> None:
        """Forgets what is held: the answer it belonged to was withdrawn."""
        self._held = ""

    def _screened(self, text: str) -> str:
        if not text or not self._screen.withholds(text):
            return text
        return "".join(self._sentence(sentence) for sentence in _sentences(text))

    def _sentence(self, sentence: str) -> str:
        if not self._screen.withholds(sentence):
            return sentence
        self.withheld += 1
        space = sentence[len(sentence.rstrip()) :]
        return self._instead + (space or " ") if self.withheld == 1 else ""


def _sentences(text: str) -> Iterator[str]:
    begin = 0
    for cut in _CUT.finditer(text):
        yield text[begin : cut.end()]
        begin = cut.end()
    if begin < len(text):
        yield text[begin:]
