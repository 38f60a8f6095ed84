"""How long the slow tests look: rounds and seeds that fit into continuous integration, or all of them.

`THOROUGH=1 make test-all` runs the full numbers, which take some twenty minutes.
"""

from __future__ import annotations

import os

IS_THOROUGH = os.environ.get("THOROUGH", "") not in ("", "0")


def rounds(everyday: int, thorough: int) -> int:
    """`thorough` when the environment asks for it, else `everyday`."""
    return thorough if IS_THOROUGH else everyday
