"""What makes two requests the same: the bytes that would be sent, and everything beside them that shapes the answer.

The body is hashed as it is, so that a field nobody thought of changes the key. What does not change it is listed here
as data, and a test proves every other field to be in the key. A key holds a user only as a keyed hash, and neither a
key nor a user's token is ever shown: not in a log, not in a metric, not in a repr.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Literal

import msgspec
from typing_extensions import override

from ngx_agents.errors import ConfigError, ModelRequestError
from ngx_agents.vertex.ladder.residency import LOCAL, Residency
from ngx_agents.vertex.scope import CacheRule, Cohort, QueryClass, User

SCHEMA = 1  # raised whenever what is hashed or stored changes its meaning
MIN_SECRET_BYTES = 16
# members of the body that bill or trace a call and never shape its answer; they stand last in it
UNHASHED_MEMBERS = frozenset({"labels"})
# fields that are not in the key, and why two requests that differ in them are still the same question
UNHASHED_FIELDS: Mapping[str, str] = {
    "ModelRequest.deadline_s": "each caller waits as long as it wants",
    "ModelRequest.urgency": "who is served first does not change what is said",
    "ModelRequest.on_cut": "how a broken stream goes on; only whole answers are kept",
    "ModelRequest.is_simple": "allows the local model, whose answers are never kept",
    "ModelRequest.labels": "for billing",
    "ModelRequest.prefix_scope": "where the provider keeps the beginning of the prompt does not change what is said",
    "ModelRequest.only_kept": "whether the model may be asked does not change the question",
    "ModelRequest.by_sentence": "how large the pieces of a stream are does not change what is said",
    "Content.wire": "made of the other fields",
}
# fields whose set value means that nothing is looked up, kept or joined
BARRING_FIELDS = frozenset({"ModelRequest.is_red_flag"})
_USER = b"ngx answer cache user\0"
_ENTRY = b"ngx answer cache entry\0"
_encode = msgspec.msgpack.Encoder().encode
_encode_json = msgspec.json.Encoder().encode

LocationClass = Literal["global", "eu", "us", "local"] | str  # or the name of one region


def location_class_of(location: str, residency: Residency) -> LocationClass:
    """Where an answer may have been made, to be the same answer: within the residency rule, or in the one location."""
    return location if residency == "any" or location == LOCAL else residency


class CacheKey:
    """One question. Equal keys are the same question; the rest says what is needed to look it up and to keep it.

    `group` holds all keys of one user, None when the answer is nobody's own. `generation` and `checked_s` are the
    cache's: which erasures of the user were known, and when.
    """

    __slots__ = ("checked_s", "digest", "epoch", "generation", "group", "location_class", "model", "query_class")

    def __init__(
        self, digest: bytes, *, group: str | None, query_class: QueryClass, model: str, location_class: str, epoch: int
    ) -> None:
        self.digest = digest
        self.group = group
        self.query_class = query_class
        self.model = model
        self.location_class = location_class
        self.epoch = epoch
        self.generation: bytes | None = None
        self.checked_s = 0.0

    @override
    def __hash__(self) -> int:
        return hash(self.digest)

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, CacheKey) and self.digest == other.digest

    @override
    def __repr__(self) -> str:
        return f"<CacheKey of {self.query_class}>"


class KeyMaker:
    """`secrets` sign user ids: the first is used, the others are only for erasing what was kept under them."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        if not secrets:
            raise ConfigError("the answer cache needs a secret")
        if any(len(secret) < MIN_SECRET_BYTES for secret in secrets):
            raise ConfigError(f"a secret of the answer cache has at least {MIN_SECRET_BYTES} bytes")
        # copying a keyed state costs less than keying it anew
        self._users = [hmac.new(secret, _USER, "sha256") for secret in secrets]
        self._entries = [hmac.new(secret, _ENTRY, "sha256") for secret in secrets]

    def digest(
        self, body: bytes, *, model: str, location_class: str, rule: CacheRule, labels: Mapping[str, str] | None = None
    ) -> tuple[bytes, str | None]:
        """(32 bytes, the user's group or None). `labels` are those that stand at the end of `body`, if any do.

        Raises ModelRequestError for a rule that is no text.
        """
        scope = rule.scope
        group: str | None = None
        if isinstance(scope, User):
            group = self.group(scope.id)
            who = ["user", group]
        elif isinstance(scope, Cohort):
            who = ["cohort", scope.id]
        else:
            who = ["public", ""]
        beside = (SCHEMA, model, location_class, who, rule.query_class, rule.version, rule.ttl_s, rule.is_repeatable)
        try:
            hashed = sha256(_encode(beside))
        except UnicodeEncodeError:
            raise ModelRequestError("the cache rule, the model or the location is not valid text") from None
        tail = _tail("labels", labels) if labels else b""
        if tail and body.endswith(tail):
            hashed.update(memoryview(body)[: -len(tail)])
            hashed.update(b"}")
        else:
            hashed.update(body)
        return hashed.digest(), group

    def group(self, user_id: str) -> str:
        """The token that stands for the user."""
        return _token(self._users[0], user_id)

    def groups(self, user_id: str) -> list[str]:
        """The tokens under all secrets, the present one first."""
        return [_token(keyed, user_id) for keyed in self._users]

    def sign(self, digest: bytes, payload: bytes) -> bytes:
        """16 bytes that only a holder of the secret can make for this payload under this key."""
        return _signature(self._entries[0], digest, payload)

    def is_signed(self, digest: bytes, payload: bytes, signature: bytes) -> bool:
        """Whether one of the secrets signed it."""
        return any(hmac.compare_digest(_signature(keyed, digest, payload), signature) for keyed in self._entries)

    @override
    def __repr__(self) -> str:
        return "<KeyMaker>"


def _tail(member: str, value: Mapping[str, str]) -> bytes:
    """How a body ends whose last member this is. Inside of it, no text and no deeper object can end so."""
    if member not in UNHASHED_MEMBERS:
        raise ValueError(f"{member} shapes the answer and must be hashed")
    return b',"%b":%b}' % (member.encode(), _encode_json(value))


def _token(keyed: hmac.HMAC, user_id: str) -> str:
    token = keyed.copy()
    token.update(user_id.encode("utf-8", "surrogatepass"))
    return token.hexdigest()[:32]


def _signature(keyed: hmac.HMAC, digest: bytes, payload: bytes) -> bytes:
    signed = keyed.copy()
    signed.update(digest)
    signed.update(payload)
    return signed.digest()[:16]
