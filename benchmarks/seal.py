"""What signing messages between processes costs: closed and opened again, CPU of this thread, least of the rounds.

`python -m benchmarks.seal [--rounds 7]`; JSON, µs per message.
"""

from __future__ import annotations

import argparse
import json
import time

from ngx_agents.a2a.seal import Seal

SIZES_BYTES = (300, 1_500, 20_000)
BYTES_A_ROUND = 30_000_000
STREAM = "ngx:a2a:{nutrition}:q1"


def microseconds(seal: Seal, size_bytes: int) -> float:
    content, times = b"x" * size_bytes, max(500, min(20_000, BYTES_A_ROUND // size_bytes))
    began_s = time.thread_time()
    for _ in range(times):
        seal.opened(STREAM, "p", seal.closed(STREAM, "p", content))
    return (time.thread_time() - began_s) / times * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    seal = Seal([b"k" * 32])
    found = {size: round(min(microseconds(seal, size) for _ in range(rounds)), 2) for size in SIZES_BYTES}
    print(json.dumps({"us_per_message": found}))


if __name__ == "__main__":
    main()
