"""When a local time on some weekdays comes next: arithmetic on the IANA time zones, nothing else.

Around a change of the clocks every day has the time once. One that the clocks skip is taken with the offset from before
the change, so 02:30 comes at 03:30; of one that comes twice the first counts. Source: RFC 5545, section 3.3.5.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from ngx_agents.errors import InvalidRequest

EVERY_DAY = (1, 2, 3, 4, 5, 6, 7)
LOOK_BACK_DAYS = 8
_AT = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_ZONE = re.compile(r"[A-Za-z0-9_+\-]{1,30}(/[A-Za-z0-9_+\-]{1,30}){0,2}")


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """`at` is `HH:MM`, `weekdays` 1 Monday to 7 Sunday, `zone` an IANA name such as `Europe/Madrid`."""

    at: str
    weekdays: tuple[int, ...]
    zone: str

    def check(self) -> None:
        """Raises InvalidRequest, which names the field."""
        if not _AT.fullmatch(self.at):
            raise InvalidRequest("must be a local time HH:MM", field="at")
        if not self.weekdays or any(day not in EVERY_DAY for day in self.weekdays):
            raise InvalidRequest("must be days from 1 (Monday) to 7 (Sunday)", field="weekdays")
        if not is_zone(self.zone):
            raise InvalidRequest("no IANA time zone has that name", field="zone")


def is_zone(name: str) -> bool:
    """Whether the name is one of the IANA database."""
    if not _ZONE.fullmatch(name):
        return False
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def next_after(rule: Rule, after_s: float) -> float:
    """The first time strictly after `after_s`. Both are Unix seconds."""
    return min(at_s for at_s in _around(rule, after_s, range(-1, LOOK_BACK_DAYS + 1)) if at_s > after_s)


def missed(rule: Rule, *, since_s: float, now_s: float) -> tuple[float, int]:
    """Of the times from `since_s`, itself one of them, until `now_s`: the last, and how many came before it."""
    if now_s - since_s < 86_400 * LOOK_BACK_DAYS:
        times = [at_s for at_s in _around(rule, now_s, range(-LOOK_BACK_DAYS - 1, 2)) if since_s <= at_s <= now_s]
        return (max(times), len(times) - 1) if times else (since_s, 0)
    last = max(at_s for at_s in _around(rule, now_s, range(-LOOK_BACK_DAYS, 2)) if at_s <= now_s)
    days = int((last - since_s) // 86_400)
    return last, max(1, days * len(set(rule.weekdays)) // 7)


def _around(rule: Rule, at_s: float, days: range) -> list[float]:
    zone = ZoneInfo(rule.zone)
    today = datetime.fromtimestamp(at_s, zone).date()
    dates = (today + timedelta(days=offset) for offset in days)
    return [_instant(day, rule.at, zone) for day in dates if day.isoweekday() in rule.weekdays]


def _instant(day: date, at: str, zone: ZoneInfo) -> float:
    """A `fold` of 0 means the offset from before a change, of both the times that are skipped and those that repeat."""
    return datetime.combine(day, time.fromisoformat(at), zone).timestamp()
