"""The provider's side of kept prefixes for tests that move the clock by hand: it answers calls, and writes the bill."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from ngx_agents.errors import ModelError, ModelNotFound
from ngx_agents.vertex.contexts.provider import ContextTarget, Method
from ngx_agents.vertex.contexts.settings import Prices
from tests.resilience.hand_clock import HandClock

HOUR_S = 3600.0


class BilledProvider:
    """`bill_usd` is for a prefix of a million tokens. `failing` is raised instead of answering that method."""

    def __init__(self, clock: HandClock, prices: Prices) -> None:
        self.clock = clock
        self.prices = prices
        self.calls: list[tuple[Method, str]] = []
        self.failing: dict[Method, ModelError] = {}
        self.bodies: list[Any] = []
        self.live: dict[str, dict[str, Any]] = {}
        self.bill_usd = 0.0
        self._spans: list[tuple[float, float]] = []

    def named(self, method: Method) -> int:
        return sum(1 for each, _ in self.calls if each == method)

    async def __call__(
        self, target: ContextTarget, path: str, *, method: Method, body: bytes, deadline_s: float
    ) -> bytes:
        self.calls.append((method, path))
        assert deadline_s > self.clock.at_s
        if method in self.failing:
            raise self.failing[method]
        if method == "POST":
            return self._make(json.loads(body), target)
        if path.startswith("cachedContents?"):
            return json.dumps({"cachedContents": [self._view(name) for name in self.live]}).encode()
        name = f"projects/1/locations/{target.location}/{path}"
        if name not in self.live or self.live[name]["until_s"] <= self.clock.at_s:
            raise ModelNotFound("gone", status=404)
        if method == "PATCH":
            self.live[name]["until_s"] = self.clock.at_s + float(json.loads(body)["ttl"].removesuffix("s"))
        if method == "DELETE":
            del self.live[name]
            return b"{}"
        return json.dumps(self._view(name)).encode()

    def use(self, name: str | None) -> None:
        """One generation, with the copy or with the whole prefix."""
        if name is None:
            self.bill_usd += self.prices.input_usd
            return
        assert self.live[name]["until_s"] > self.clock.at_s, "a copy was used after its end"
        self.bill_usd += self.prices.cached_usd

    def storage_usd(self, until_s: float) -> float:
        spans = [(each["since_s"], min(each["until_s"], until_s)) for each in self.live.values()]
        return sum(end - start for start, end in spans) / HOUR_S * self.prices.storage_usd_per_hour

    def _make(self, document: dict[str, Any], target: ContextTarget) -> bytes:
        self.bodies.append(document)
        name = f"projects/1/locations/{target.location}/cachedContents/{len(self.calls)}"
        self.live[name] = {
            "model": document["model"],
            "displayName": document["displayName"],
            "since_s": self.clock.at_s,
            "until_s": self.clock.at_s + float(document["ttl"].removesuffix("s")),
        }
        self.bill_usd += self.prices.input_usd
        return json.dumps(self._view(name)).encode()

    def _view(self, name: str) -> dict[str, Any]:
        kept = self.live[name]
        until_s = self.clock.now_s() + kept["until_s"] - self.clock.at_s
        return {
            "name": name,
            "model": kept["model"],
            "displayName": kept["displayName"],
            "expireTime": datetime.fromtimestamp(until_s, UTC).isoformat().replace("+00:00", "Z"),
            "usageMetadata": {"totalTokenCount": 5000},
        }
