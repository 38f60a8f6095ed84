"""What a command may ask: sizes, numbers, and that keys of one reservation live in one place. Pure."""

from __future__ import annotations

from ngx_agents.coordination import commands as c
from ngx_agents.errors import SharedRefused

MAX_KEY_BYTES = 512
MAX_KEYS = 512
MAX_BUCKETS = 16
MAX_VALUE_BYTES = 2**20
MAX_TTL_S = 400 * 86_400.0
MAX_VERSION = 2**63 - 1
MAX_COUNT = 2**53
MAX_TOKENS = 1e15
MIN_REFILL_PER_S = 1e-6
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
            _check_group(command.group)
        case c.Reserve():
            _check_reserve(command.buckets)
        case _:
            _check_number(command)


def _check_number(command: c.Command[object]) -> None:
    match command:
        case c.Settle():
            _check_bucket(command.bucket)
            _require(abs(command.delta) <= MAX_TOKENS, "delta", f"is beyond {MAX_TOKENS:.0e}")
        case c.Count():
            check_key(command.key)
            _check_ttl(command.ttl_s)
            _require(abs(command.amount) <= MAX_COUNT, "amount", f"is beyond {MAX_COUNT}")
        case c.Hold():
            _check_hold(command)
        case _:
            raise SharedRefused("the command is unknown", field="command")


def _check_hold(command: c.Hold) -> None:
    check_key(command.key)
    check_key(command.member, "member")
    _check_ttl(command.lease_s, "lease_s")
    for field in ("wanted", "least", "limit"):
        _require(0 <= getattr(command, field) <= MAX_COUNT, field, f"is not from 0 to {MAX_COUNT}")


def check_key(key: str, field: str = "key") -> None:
    try:
        size_bytes = len(key.encode())
    except UnicodeEncodeError:
        raise SharedRefused(f"{field} is not text", field=field) from None
    _require(0 < size_bytes <= MAX_KEY_BYTES, field, f"is not of 1 to {MAX_KEY_BYTES} bytes")


def check_payload(payload: bytes, *, max_value_bytes: int) -> None:
    _require(len(payload) <= max_value_bytes, "payload", f"is larger than {max_value_bytes} bytes")


def _check_put(command: c.Put | c.PutNewer, max_value_bytes: int) -> None:
    check_key(command.key)
    _check_ttl(command.ttl_s)
    _require(len(command.value) <= max_value_bytes, "value", f"is larger than {max_value_bytes} bytes")
    if command.group is not None:
        _check_group(command.group)
    if isinstance(command, c.PutNewer):
        _require(0 < command.version <= MAX_VERSION, "version", f"is not from 1 to {MAX_VERSION}")


def _check_group(group: str) -> None:
    check_key(group, "group")
    has_tag = hash_tag(group) != group
    _require(has_tag or not ("{" in group or "}" in group), "group", "has braces that are no {tag}")


def _check_keys(keys: tuple[str, ...]) -> None:
    _require(len(keys) <= MAX_KEYS, "keys", f"are more than {MAX_KEYS}")
    for key in keys:
        check_key(key, "keys")


def _check_ttl(ttl_s: float, field: str = "ttl_s") -> None:
    _require(MIN_TTL_S <= ttl_s <= MAX_TTL_S, field, f"is not from {MIN_TTL_S} to {MAX_TTL_S:.0f}")


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
    _require(0 < bucket.capacity <= MAX_TOKENS, "capacity", f"is not above 0 and up to {MAX_TOKENS:.0e}")
    is_rate = MIN_REFILL_PER_S <= bucket.refill_per_s <= MAX_TOKENS
    _require(is_rate, "refill_per_s", f"is not from {MIN_REFILL_PER_S} to {MAX_TOKENS:.0e}")


def _require(is_true: bool, field: str, fault: str) -> None:
    if not is_true:
        raise SharedRefused(f"{field} {fault}", field=field)
