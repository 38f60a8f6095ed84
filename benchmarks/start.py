"""`start`: from exec to the first 200 on /readyz, and what an idle server holds."""

from __future__ import annotations

import time
from statistics import median

from benchmarks.effort import Effort
from benchmarks.processes import ngx_server
from benchmarks.report import Line, Outcome

START_BUDGET_S = 1.0
RSS_BUDGET_MB = 100.0
SETTLE_S = 0.5
NOWHERE = "http://127.0.0.1:9"  # a model that is not there: a start must not need one


def start(effort: Effort) -> Outcome:
    """Median of several starts; each begins with its own empty data directory and ends before the next."""
    starts_s, rss_mb = [], []
    for _ in range(effort.starts):
        with ngx_server(NOWHERE) as server:
            starts_s.append(server.start_s)
            time.sleep(SETTLE_S)
            rss_mb.append(server.rss_kb() / 1024)
    lines = [
        Line(
            what="exec to first 200 on /readyz", measured=median(starts_s), unit="s", budget=START_BUDGET_S,
            note=f"{min(starts_s):.2f} to {max(starts_s):.2f}, {len(starts_s)} starts",
        ),
        Line(
            what="RSS of an idle server", measured=median(rss_mb), unit="MB", budget=RSS_BUDGET_MB,
            note=f"{min(rss_mb):.1f} to {max(rss_mb):.1f}",
        ),
    ]  # fmt: skip
    return Outcome(name="start", lines=lines, data={"starts_s": starts_s, "rss_mb": rss_mb})
