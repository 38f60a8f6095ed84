"""Where the carrier's things lie in Redis. What belongs to one agent shares a hash tag, and so a node of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

CLASSES = 4
GROUP = "ngx"
PARCEL, FRAME, CANCEL = "p", "f", "c"  # the field of an entry


@dataclass(frozen=True, slots=True)
class AgentKeys:
    """`queues` are streams of parcels by class, `served` is there while a process serves the agent, `standing` tells
    since when parcels have been waiting without a break, `dead` is a stream."""

    queues: tuple[str, ...]
    served: str
    standing: str
    dead: str


def agent_keys(namespace: str, agent: str) -> AgentKeys:
    start = f"{namespace}:a2a:{{{quote(agent, safe='')}}}:"
    queues = tuple(f"{start}q{turn_class}" for turn_class in range(CLASSES))
    return AgentKeys(queues, f"{start}served", f"{start}standing", f"{start}dead")


def inbox_key(namespace: str, address: str) -> str:
    """The stream of frames and cancels for one process."""
    return f"{namespace}:a2a:inbox:{address}"
