"""What a command may ask: sizes, numbers, and that keys of one reservation live in one place. Pure."""

from __future__ import annotations

import math

from ngx_agents.coordination import commands as c
from ngx_agents.errors import SharedRefused

MAX_KEY_BYTES = 512
MAX_KEYS = 512
MAX_BUCKETS = 16
MAX_VALUE_BYTES = 2**20
MAX_TTL_S = 400 * 86_400.0
MAX_VERSION = 2**63 - 1
MAX_COUNT = 2**53
MAX_UNHEARD = 1000
MIN_TTL_S = 0.001


def hash_tag(key: str) -> str:
    """The part of a key that decides its place in a cluster: what stands in its first `{…}`, else the key."""
    start = key.find("{")
    end = key.find("}", start + 1)
    return key if start < 0 or end <= start + 1 else key[start + 1 : end]


def check(command: c.Command[object], *, max_value_bytes: int) -> None:
    """Raises SharedRefused when the command is out of bounds."""
    match command:
        case c.Get() | c.GetVersioned():
            check_key(command.key)
        case c.Put() | c.PutNewer():
            _check_put(command, max_value_bytes)
        case c.GetMany() | c.Drop():
            _check_keys(command.keys)
        case c.DropGroup():
            check_key(command.group)
        case c.Reserve():
            _check_reserve(command.buckets)
        case c.Settle():
            _check_bucket(command.bucket)
            _require(math.isfinite(command.delta), "delta", "is not a finite number")
        case c.Count():
            check_key(command.key)
            _check_ttl(command.ttl_s)
            _require(abs(command.amount) <= MAX_COUNT, "amount", f"is beyond {MAX_COUNT}")
        case _:
            raise SharedRefused("the command is unknown", field="command")


def check_key(key: str, field: str = "key") -> None:
    # no character takes more than four bytes: most keys need not be encoded to be measured
    if 0 < len(key) <= MAX_KEY_BYTES // 4:
        return
    _require(0 < len(key.encode("utf-8", "replace")) <= MAX_KEY_BYTES, field, f"is not of 1 to {MAX_KEY_BYTES} bytes")


def check_payload(payload: bytes, *, max_value_bytes: int) -> None:
    _require(len(payload) <= max_value_bytes, "payload", f"is larger than {max_value_bytes} bytes")


def _check_put(command: c.Put | c.PutNewer, max_value_bytes: int) -> None:
    check_key(command.key)
    _check_ttl(command.ttl_s)
    _require(len(command.value) <= max_value_bytes, "value", f"is larger than {max_value_bytes} bytes")
    if command.group is not None:
        check_key(command.group, "group")
    if isinstance(command, c.PutNewer):
        _require(0 < command.version <= MAX_VERSION, "version", f"is not from 1 to {MAX_VERSION}")


def _check_keys(keys: tuple[str, ...]) -> None:
    _require(len(keys) <= MAX_KEYS, "keys", f"are more than {MAX_KEYS}")
    for key in keys:
        check_key(key, "keys")


def _check_ttl(ttl_s: float) -> None:
    _require(MIN_TTL_S <= ttl_s <= MAX_TTL_S, "ttl_s", f"is not from {MIN_TTL_S} to {MAX_TTL_S:.0f}")


def _check_reserve(buckets: tuple[c.Bucket, ...]) -> None:
    _require(0 < len(buckets) <= MAX_BUCKETS, "buckets", f"are not 1 to {MAX_BUCKETS}")
    for bucket in buckets:
        _check_bucket(bucket)
        _require(0 <= bucket.amount <= bucket.capacity, "amount", "is not from 0 to the capacity")
    keys = {bucket.key for bucket in buckets}
    _require(len(keys) == len(buckets), "buckets", "have a key twice")
    _require(len({hash_tag(key) for key in keys}) == 1, "buckets", "do not share one {tag} in their keys")


def _check_bucket(bucket: c.Bucket) -> None:
    check_key(bucket.key)
    _require(0 < bucket.capacity < math.inf, "capacity", "is not above 0 and finite")
    _require(0 < bucket.refill_per_s < math.inf, "refill_per_s", "is not above 0 and finite")


def _require(is_true: bool, field: str, fault: str) -> None:
    if not is_true:
        raise SharedRefused(f"{field} {fault}", field=field)
