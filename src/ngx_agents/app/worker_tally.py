"""What the workers of one server have counted, the ended ones included, and how they are."""

from __future__ import annotations

from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.telemetry.snapshots import Snapshot, lasting, merged, snapshot_of


class WorkerTally:
    """One thread's."""

    def __init__(self, workers: int) -> None:
        self._alive: dict[int, Snapshot] = {}
        self._ended: Snapshot = ()
        self._own = Metrics()
        names = [str(worker) for worker in range(workers)]
        restarts = self._own.counter("ngx_worker_restarts_total", "Starts of a worker that had died.", "worker")
        lags = self._own.gauge("ngx_worker_loop_lag_seconds", "How late a worker's event loop is.", "worker")
        ups = self._own.gauge("ngx_worker_alive", "1 while the worker beats, 0 when it died or was given up.", "worker")
        self._restarts = [restarts.labels(name) for name in names]
        self._lags = [lags.labels(name) for name in names]
        self._ups = [ups.labels(name) for name in names]
        self._given_up = self._own.gauge("ngx_workers_given_up", "Workers that died too often.").labels()

    def beat(self, worker: int, lag_s: float) -> None:
        self._lags[worker].set(lag_s)
        self._ups[worker].set(1.0)

    def counted(self, worker: int, snapshot: Snapshot) -> None:
        """All that the worker has counted since it began."""
        self._alive[worker] = snapshot

    def restarted(self, worker: int) -> None:
        self._restarts[worker].inc()

    def given_up(self, worker: int) -> None:
        self._given_up.set(self._given_up.value + 1)

    def ended(self, worker: int) -> None:
        """The worker is gone; what it counted stays."""
        self._ups[worker].set(0.0)
        self._lags[worker].set(0.0)
        last = self._alive.pop(worker, None)
        if last is not None:
            self._ended = snapshot_of(merged((self._ended, lasting(last))))

    def exposition(self) -> bytes:
        """Prometheus's text."""
        return merged((self._ended, *self._alive.values(), snapshot_of(self._own))).render()
