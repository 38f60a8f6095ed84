"""`/_control`: what the emulator remembers between calls, the orders that change it, and what it shows of it.

POST takes an `Order` (or the bare list of faults): what is given replaces what was there. GET shows the state,
`/_control/requests` the requests kept. DELETE puts everything back to the settings and forgets counts, caches, tokens.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from ngx_agents.clock import Rng, SystemClock
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.emulator.caches import CacheOrder, Caches
from ngx_agents.vertex.emulator.catalog import Catalog, Change
from ngx_agents.vertex.emulator.emulator_clock import EmulatorClock
from ngx_agents.vertex.emulator.faults import Fault, Script
from ngx_agents.vertex.emulator.latency import Latency, Tempo
from ngx_agents.vertex.emulator.pools import Capacity, NotNegative, PoolRule
from ngx_agents.vertex.emulator.settings import EmulatorSettings
from ngx_agents.vertex.emulator.traffic import Traffic


class Order(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`advance_s` moves the emulator's clock ahead; `down_s` resets every connection for so long."""

    faults: list[Fault] | None = None
    pools: list[PoolRule] | None = None
    models: dict[str, Change] = {}
    latency: Tempo | None = None
    caches: CacheOrder | None = None
    advance_s: NotNegative = 0.0
    down_s: NotNegative = 0.0
    keep_requests: Annotated[int, msgspec.Meta(ge=0, le=1000)] | None = None
    revoke_tokens: bool = False


class ControlState:
    """Everything that outlives a call."""

    def __init__(self, settings: EmulatorSettings) -> None:
        self._settings = settings
        self.reset()

    def reset(self) -> None:
        settings = self._settings
        self.clock = EmulatorClock(SystemClock())
        self.rng = Rng(settings.seed)
        self.script = Script(settings.seed)
        self.capacity = Capacity(self.clock)
        self.capacity.load(settings.pools())
        self.catalog = Catalog()
        self.caches = Caches(self.clock, min_tokens=settings.cache_min_tokens)
        self.traffic = Traffic()
        self.latency = Latency(
            ttft_ms=settings.ttft_ms,
            chunk_gap_ms=settings.chunk_gap_ms,
            jitter=settings.jitter,
            sigma=settings.sigma,
            chunks=settings.chunks,
            seats=settings.seats,
        )
        self.tokens: dict[str, float] = {}
        self.tokens_issued = 0
        self.down_until_s = 0.0

    @property
    def is_down(self) -> bool:
        return bool(self.down_until_s) and self.clock.monotonic_s() < self.down_until_s

    def apply(self, body: bytes) -> None:
        """Raises msgspec.ValidationError or msgspec.DecodeError, and then changes nothing."""
        if body.lstrip().startswith(b"["):
            order = Order(faults=msgspec.json.decode(body, type=list[Fault]))
        else:
            order = msgspec.json.decode(body, type=Order)
        self.clock.ahead_s += order.advance_s
        self._load(order)
        if order.latency is not None:
            self.latency = order.latency.of(self.latency)
        if order.keep_requests is not None:
            self.traffic.keep(order.keep_requests)
        if order.revoke_tokens:
            self.tokens.clear()
        if order.down_s:
            self.down_until_s = self.clock.monotonic_s() + order.down_s

    def _load(self, order: Order) -> None:
        if order.faults is not None:
            self.script.load(order.faults)
        if order.pools is not None:
            self.capacity.load(order.pools)
        self.catalog.change(order.models)
        if order.caches is not None:
            self.caches.apply(order.caches)

    def view(self) -> dict[str, Any]:
        """What GET shows. `last_request` is the body of the last call, as JSON when it is JSON."""
        return {
            **self.traffic.view(),
            "tokens_issued": self.tokens_issued,
            "faults": self.script.faults,
            "faults_played": self.script.played,
            "pools": [self._pool_view(number) for number in range(len(self.capacity.pools))],
            "caches": self.caches.view(),
            "latency": self.latency,
            "ahead_s": self.clock.ahead_s,
        }

    def exposition(self) -> bytes:
        """The counts in Prometheus form."""
        metrics = Metrics()
        self.traffic.write(metrics)
        caches = self.caches.view()
        metrics.counter("ngx_emulator_cache_creates_total", "Cached contents created.").labels().inc(caches["creates"])
        metrics.gauge("ngx_emulator_caches", "Cached contents alive.").labels().set(len(caches["live"]))
        played = metrics.counter("ngx_emulator_faults_total", "Faults played.", "kind")
        for kind, count in self.script.played.items():
            played.labels(kind).inc(count)
        return metrics.render()

    def _pool_view(self, number: int) -> dict[str, Any]:
        pool = self.capacity.pools[number]
        return {
            "kind": pool.rule.kind,
            "model": pool.rule.model,
            "location": pool.rule.location,
            **msgspec.structs.asdict(pool.limits(self.clock.monotonic_s())),
            "held": pool.held,
            "admitted": pool.admitted,
            "refused": pool.refused,
        }
