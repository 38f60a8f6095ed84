"""Where data may go. A rule is never bent: a rung outside of it does not exist for the request."""

from __future__ import annotations

from typing import Literal

Residency = Literal["any", "eu", "us"]

_REGION_PREFIX = {"eu": "europe-", "us": "us-"}
LOCAL = "local"  # this machine, or one the operator named


def may_go(location: str, residency: Residency) -> bool:
    """Whether a call under `residency` may be answered in `location`. `global` is anywhere: only `any` allows it."""
    if residency == "any" or location in (residency, LOCAL):
        return True
    return location.startswith(_REGION_PREFIX[residency])


def stricter(one: Residency, other: Residency | None) -> Residency | None:
    """The rule that keeps both; None when nothing can."""
    if other is None or other == "any" or one == other:
        return one
    return other if one == "any" else None
