"""Checked access to a tool's arguments, whoever chose them.

Every function raises InvalidRequest with the argument's name as `field`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ngx_agents.errors import InvalidRequest


def number(arguments: dict[str, Any], name: str, low: float, high: float) -> float | None:
    """A number within [low, high], or None when it is absent."""
    value = arguments.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InvalidRequest(f"{name} must be a number from {low:g} to {high:g}", field=name)
    return float(value)


def integer(arguments: dict[str, Any], name: str, low: int, high: int) -> int | None:
    """A whole number within [low, high], or None; a model's `8.0` counts as 8."""
    value = number(arguments, name, low, high)
    if value is None:
        return None
    if not value.is_integer():
        raise InvalidRequest(f"{name} must be a whole number", field=name)
    return int(value)


def choice(arguments: dict[str, Any], name: str, allowed: Collection[str]) -> str | None:
    """One of `allowed`, or None when it is absent."""
    value = arguments.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or value not in allowed:
        raise InvalidRequest(f"{name} must be one of {', '.join(sorted(allowed))}", field=name)
    return value


def strings(arguments: dict[str, Any], name: str, limit: int = 30) -> tuple[str, ...]:
    """A list of at most `limit` strings of at most 120 characters; empty when absent."""
    value = arguments.get(name)
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or len(value) > limit:
        raise InvalidRequest(f"{name} must be a list of at most {limit} strings", field=name)
    if not all(isinstance(item, str) and len(item) <= 120 for item in value):
        raise InvalidRequest(f"{name} must hold strings of at most 120 characters", field=name)
    return tuple(value)
