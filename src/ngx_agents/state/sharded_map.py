"""Where each of the 256 logical shards is: from the configuration, then from what the servers themselves say. No I/O.

Every server keeps a row for each shard that ever came or went (`ShardPlace`), with an epoch that grows by one with each
move. The highest epoch holds, whoever tells it, so a server that is lost for ever keeps nobody from finding what was
moved away from it, and an old configuration does no harm.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from ngx_agents.errors import ConfigError
from ngx_agents.state.ids import SHARDS
from ngx_agents.state.operations import ShardPlace

_RANK = {"copying": 0, "frozen": 0, "gone": 1, "serving": 2}
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_RANGE = re.compile(r"(\d{1,3})(?:-(\d{1,3}))?")


class ShardServer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One database with its streaming standbys."""

    url: str
    replicas: tuple[str, ...] = ()


class ShardFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file: `servers` are names with URLs (secrets: mode 600), `places` ranges such as "0-127" with a name."""

    servers: dict[str, str | ShardServer]
    places: dict[str, str]


class ShardMap:
    """`base` has the server's name for every shard, as configured."""

    def __init__(self, base: Sequence[str]) -> None:
        if len(base) != SHARDS:
            raise ConfigError(f"a shard map has {SHARDS} places, not {len(base)}")
        self.servers = tuple(sorted(set(base)))
        self._base = tuple(base)
        self._places = list(base)
        self._epochs = [0] * SHARDS
        self._told: dict[str, tuple[ShardPlace, ...]] = {}
        self._arriving: dict[int, set[str]] = {}

    def place_of(self, shard: int) -> str:
        return self._places[shard]

    def epoch_of(self, shard: int) -> int:
        """How often the shard has moved."""
        return self._epochs[shard]

    def is_arriving(self, shard: int) -> bool:
        """Whether some server awaits it: it may change its place at any moment."""
        return shard in self._arriving

    def state_of(self, shard: int, server: str) -> ShardPlace | None:
        """What the server last said of it."""
        return next((place for place in self._told.get(server, ()) if place.shard == shard), None)

    def has_arrived(self, shard: int, server: str) -> bool:
        """Whether the server itself said that it serves the shard since it last moved, or it never did."""
        told = self.state_of(shard, server)
        is_told = told is not None and told.state == "serving" and told.epoch == self._epochs[shard]
        return self._epochs[shard] == 0 or is_told

    def hear(self, server: str, told: Sequence[ShardPlace]) -> None:
        """Takes in everything that a server says, in place of what it said before."""
        if self._told.get(server) == tuple(told):
            return
        self._told[server] = tuple(told)
        best = [(0, -1, name) for name in self._base]
        self._arriving = {}
        for name, places in self._told.items():
            for place in places:
                if place.state == "arriving":
                    self._arriving.setdefault(place.shard, set()).add(name)
                    continue
                at = place.peer if place.state == "gone" else name
                best[place.shard] = max(best[place.shard], (place.epoch, _RANK[place.state], at))
        self._places = [at for _, _, at in best]
        self._epochs = [epoch for epoch, _, _ in best]


def read_shard_file(path: Path) -> tuple[ShardMap, Mapping[str, ShardServer]]:
    """The map as configured, and the servers by name. Raises ConfigError, which never shows a URL."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=ShardFile)
    except OSError as error:
        raise ConfigError(f"the shard file {path} cannot be read") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the shard file {path} is not {{servers: {{name: URL or {{url, replicas}}}}, places: {{range: name}}}}"
        ) from error
    for name in found.servers:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"the shard file {path}: {name!r} is no name for a server (a-z, 0-9, - and _)")
    servers = {name: ShardServer(url=one) if isinstance(one, str) else one for name, one in found.servers.items()}
    return ShardMap(_laid_out(found, path)), servers


def _laid_out(found: ShardFile, path: Path) -> list[str]:
    places = [""] * SHARDS
    for told, name in found.places.items():
        match = _RANGE.fullmatch(told)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not 0 <= first <= last < SHARDS:
            raise ConfigError(f"the shard file {path}: {told!r} is no range of shards within 0-{SHARDS - 1}")
        if name not in found.servers:
            raise ConfigError(f"the shard file {path}: shards {told} are at {name!r}, which is no server of it")
        for shard in range(first, last + 1):
            if places[shard]:
                raise ConfigError(f"the shard file {path}: shard {shard} is told twice")
            places[shard] = name
    if "" in places:
        raise ConfigError(f"the shard file {path}: shard {places.index('')} is nowhere")
    return places
