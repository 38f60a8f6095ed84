"""Whether a flag is on for a user, decided from the flag alone: the same on every instance, and without asking."""

from __future__ import annotations

import zlib

from ngx_agents.state.controls import Flag
from ngx_agents.state.model import Owner

BUCKETS = 10_000


def bucket_of(flag: str, owner: Owner) -> int:
    """0 to 9,999. The flag's name is part of it: the users of one flag's share are not those of another's."""
    seed = f"{flag}\n{owner.tenant}\n{owner.user}"
    return zlib.crc32(seed.encode("utf-8", "surrogatepass")) % BUCKETS


def is_on_for(flag: Flag, name: str, owner: Owner, *, plan: str) -> bool:
    if not flag.is_on:
        return False
    if flag.users and f"{owner.tenant}/{owner.user}" in flag.users:
        return True
    if flag.tenants and owner.tenant not in flag.tenants:
        return False
    if flag.plans and plan not in flag.plans:
        return False
    return bucket_of(name, owner) < flag.share_percent * BUCKETS / 100
