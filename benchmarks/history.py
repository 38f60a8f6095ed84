"""`history`: what a long conversation costs a turn, once it is in memory and when it must be read first."""

from __future__ import annotations

from statistics import median

from benchmarks.effort import Effort
from benchmarks.load import Order
from benchmarks.processes import REST_CORES, SERVER_CORES, Server, emulator, ngx_server
from benchmarks.report import Line, Outcome
from benchmarks.sampling import QUESTION, Sample, sample, stored_conversations

BUDGET_RATIO = 1.3
SHORT, LONG = 2, 200
CONVERSATIONS = 128
WARM_TURNS = 3
LIMIT_S = 60.0


def history(effort: Effort) -> Outcome:
    """Rounds of fresh conversations, short and long by turns: their first turn (cold), then three more (warm)."""
    rounds = 2 * effort.pairs
    with emulator(cores=REST_CORES) as model, ngx_server(model.url, cores=SERVER_CORES) as server:
        _round(server, SHORT)
        found = [(_round(server, SHORT), _round(server, LONG)) for _ in range(rounds)]
    lines = []
    for kind, name in ((1, "in memory"), (0, "read from the journal first")):
        short = [pair[0][kind].cpu_ms for pair in found]
        long = [pair[1][kind].cpu_ms for pair in found]
        ratios = [more / less for less, more in zip(short, long, strict=True)]
        lines += [
            Line(what=f"CPU of a turn after {SHORT} messages, {name}", measured=median(short), unit="ms"),
            Line(what=f"CPU of a turn after {LONG} messages, {name}", measured=median(long), unit="ms"),
            Line(
                what=f"{LONG} ÷ {SHORT} messages, {name}", measured=median(ratios), unit="x",
                budget=BUDGET_RATIO if kind else None, note=f"{min(ratios):.2f} to {max(ratios):.2f}",
            ),
        ]  # fmt: skip
    return Outcome(name="history", lines=lines, data=found)


def _round(server: Server, messages: int) -> tuple[Sample, Sample]:
    conversations = stored_conversations(server, CONVERSATIONS, messages=messages)
    cold, warm = (
        sample(server, _order(server, conversations, turns_each), cores=REST_CORES) for turns_each in (1, WARM_TURNS)
    )
    return cold, warm


def _order(server: Server, conversations: list[str], turns_each: int) -> Order:
    return Order(
        url=server.url, api_key=server.api_key, conversations=conversations, text=QUESTION, concurrency=32,
        open_conversations=len(conversations), turns_each=turns_each, seconds=LIMIT_S,
    )  # fmt: skip
