"""An answer that was found: how old it is now, what it may be used for, and the reply or the stream it becomes."""

from __future__ import annotations

from ngx_agents.clock import Clock
from ngx_agents.vertex.cache.entry import Entry
from ngx_agents.vertex.content import AnswerSource, Content, ModelReply


class Kept:
    """`born_s` is when it was written, on the monotonic clock. It may be held: its age is always that of now."""

    __slots__ = ("_born_s", "_clock", "_entry")

    def __init__(self, entry: Entry, born_s: float, clock: Clock) -> None:
        self._entry = entry
        self._born_s = born_s
        self._clock = clock

    @property
    def age_s(self) -> float:
        return max(0.0, self._clock.monotonic_s() - self._born_s)

    @property
    def is_fresh(self) -> bool:
        return self.age_s < self._entry.ttl_s

    @property
    def may_revalidate(self) -> bool:
        """Expired, but to be given at once while a new one is made."""
        entry = self._entry
        return entry.ttl_s <= self.age_s < entry.ttl_s + entry.stale_while_revalidate_s

    @property
    def may_serve_on_error(self) -> bool:
        """Whether it may be given when no new one can be made; a fresh one may."""
        return self.age_s < self._entry.ttl_s + self._entry.stale_if_error_s

    @property
    def chunks(self) -> tuple[str, ...]:
        """The visible text in the pieces in which it came; in one piece when it came whole."""
        text = self._entry.text
        if not self._entry.cuts:
            return (text,)
        chunks: list[str] = []
        begin = 0
        for cut in self._entry.cuts:
            chunks.append(text[begin : begin + cut])
            begin += cut
        return tuple(chunks)

    def reply(self) -> ModelReply:
        """The answer as it was, with its age and its honest source: `cache` when fresh, else `stale`.

        No call was made for it; `usage` is what it once cost. The content is the caller's own.
        """
        entry, age_s = self._entry, self.age_s
        source: AnswerSource = "cache" if age_s < entry.ttl_s else "stale"
        return ModelReply(
            content=Content(role="model", parts=entry.parts, model=entry.asked_model),
            finish_reason=entry.finish_reason,
            usage=entry.usage,
            model=entry.model,
            location=entry.location,
            provider=entry.provider,
            source=source,
            rung=source,
            traffic_type=entry.traffic_type,
            age_s=age_s,
            attempts=0,
        )
