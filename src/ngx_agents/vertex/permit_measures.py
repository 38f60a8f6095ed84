"""Metrics of what a call passes before it is made: permits of the governor, reservations of configured quota."""

from __future__ import annotations

from collections.abc import Callable

from ngx_agents.telemetry.metrics import CounterCell, Metrics


class PermitMeasures:
    """`took` hears how long each permit that was given was waited for.

    `outcome` is `at_once`, `waited`, `late` (not before the deadline), `full`, `displaced` or `overflow`.
    """

    def __init__(self, metrics: Metrics, took: Callable[[float], None] | None = None) -> None:
        self.took = took or _nobody
        permits = metrics.counter("ngx_model_permits_total", "Permits to call a model, by outcome.", "outcome")
        throttled = metrics.counter("ngx_model_throttled_total", "Calls refused with 429, by what is used up.", "kind")
        self.at_once = permits.labels("at_once")
        self.granted_late = permits.labels("waited")
        self.refused = {why: permits.labels(why) for why in ("late", "full", "displaced", "overflow")}
        self.throttled: dict[str, CounterCell] = {
            kind: throttled.labels(kind) for kind in ("shared", "provisioned", "quota")
        }
        self.waited_s = metrics.histogram(
            "ngx_model_permit_wait_seconds", "Waits for a permit, permits that were waited for."
        ).labels()


def _nobody(seconds: float) -> None:
    """Nobody wants to know."""


class QuotaMeasures:
    """`how`: `leased`, without asking; `shared`, `local`: the lease was filled by a round trip or alone; `refused`."""

    def __init__(self, metrics: Metrics) -> None:
        reservations = metrics.counter("ngx_model_quota_total", "Reservations of configured quota.", "how")
        self.leased = reservations.labels("leased")
        self.shared = reservations.labels("shared")
        self.local = reservations.labels("local")
        self.refused = reservations.labels("refused")
