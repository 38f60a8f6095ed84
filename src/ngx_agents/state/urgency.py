"""How urgent it is to write what is handed to the journal: the classes of turns, 0 first. Pure.

An acceptance has the class of its turn; all else that of whom it is done for (`resilience.caller`). Work that nobody
waits for comes after people, and what fills batches last, whoever asks. What keeps the house going (that an instance
lives, who gets a lane, what operators say) waits for nobody: it is rare and small.
"""

from __future__ import annotations

from collections.abc import Sequence

from ngx_agents.resilience.caller import CALLER
from ngx_agents.state import commands as c

CLASSES = 4
FIRST, INTERACTIVE, BACKGROUND, LAST = range(CLASSES)
_FIRST: tuple[type, ...] = (c.Beat, c.Leave, c.Audited, c.PutControl)
_LAST: tuple[type, ...] = (c.AddBatchItems, c.TakeItems, c.SettleBatch, c.DropBatch, c.Expire, c.TouchKey)
_OWN = {**dict.fromkeys(_FIRST, FIRST), **dict.fromkeys(_LAST, LAST)}


def urgency_of_commands(commands: Sequence[c.Command]) -> int:
    """Of what is done in one call: an acceptance decides for what comes with it, else its last command."""
    if not commands:
        return LAST
    command = commands[-1]
    if isinstance(command, c.AcceptTurn):
        return command.turn_class
    own = _OWN.get(type(command))
    if own is not None:
        return own
    caller = CALLER.get()
    return BACKGROUND if caller is None else caller.turn_class
