"""All ways there are: rungs times models, with the breakers, lanes and budgets that ways of a kind share."""

from __future__ import annotations

from collections.abc import Sequence

from ngx_agents.clock import Rng
from ngx_agents.errors import ModelNotFound
from ngx_agents.resilience.breaker import Breaker, BreakerRules, BreakerState
from ngx_agents.vertex.governors import Governors
from ngx_agents.vertex.ladder.residency import Residency, may_go
from ngx_agents.vertex.ladder.rungs import Rung
from ngx_agents.vertex.ladder.way import Way, WaysShare
from ngx_agents.vertex.quota import Quotas

MAX_MODELS = 256  # a caller that names ever new models must not fill the memory


class Ways:
    """Ways are made on first use and kept: what they learnt is theirs."""

    def __init__(
        self,
        rungs: Sequence[Rung],
        *,
        breaker_rules: BreakerRules,
        governors: Governors,
        quotas: Quotas,
        shared: WaysShare,
        rng: Rng,
    ) -> None:
        self._rungs = rungs
        self._rules = breaker_rules
        self._governors = governors
        self._shared = shared
        self._quotas = quotas
        self._rng = rng
        self._known: dict[tuple[str, Residency], tuple[Way, ...]] = {}
        self._ways: dict[tuple[int, str], Way] = {}
        self.breakers: dict[tuple[str, str, int], Breaker] = {}

    def for_model(self, model: str, residency: Residency) -> tuple[Way, ...]:
        """In the order of the ladder. Raises ModelNotFound when the residency rule leaves none."""
        ways = self._known.get((model, residency))
        if ways is None:
            allowed = [rung for rung in self._rungs if may_go(rung.target.location, residency)]
            ways = tuple(self._way(rung, rung.model or model) for rung in allowed if rung.model != model)
            if not ways:
                raise ModelNotFound("no configured location may answer under the residency asked for")
            if len(self._known) >= MAX_MODELS:
                self._known.clear()
                self._ways.clear()
                self.breakers.clear()
            self._known[model, residency] = ways
        return ways

    def for_embedding(self, model: str, residency: Residency) -> tuple[Way, ...]:
        """Like `for_model`, without the siblings: another model's vectors mean something else."""
        return tuple(way for way in self.for_model(model, residency) if way.model == model)

    def _way(self, rung: Rung, model: str) -> Way:
        way = self._ways.get((id(rung), model))
        if way is None:
            target = rung.target
            project = target.settings.project or ""
            way = self._ways[id(rung), model] = Way(
                rung,
                model,
                breaker=self._breaker(rung, model),
                lane=self._governors.lane(project, target.location, model, rung.traffic),
                quota=self._quotas.of(project, target.location, model),
                shared=self._shared,
            )
        return way

    def _breaker(self, rung: Rung, model: str) -> Breaker:
        """One per location, model and credential; the traffic types of a location fail together."""
        target = rung.target
        name = (target.location, model, id(target.credentials))
        breaker = self.breakers.get(name)
        if breaker is None:

            def changed(state: BreakerState, reason: str) -> None:
                self._shared.measures.breaker_changed(target.location, model, state, reason)

            breaker = self.breakers[name] = Breaker(self._rules, clock=target.clock, rng=self._rng, on_change=changed)
        return breaker
