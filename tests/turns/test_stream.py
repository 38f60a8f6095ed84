from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from ngx_agents.turns.events import HEARTBEAT
from ngx_agents.turns.stream import Subscription, TurnStream

_Step = tuple[str, str]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.text("abc", min_size=1, max_size=3)),
        st.tuples(st.just("reset"), st.just("")),
        st.tuples(st.just("other"), st.just("")),
        st.tuples(st.just("resume"), st.just("")),
    ),
    max_size=40,
)


class Client:
    """What an honest client does: appends deltas, forgets on reset, remembers the last id."""

    def __init__(self) -> None:
        self.text = ""
        self.last_id: str | None = None
        self.ids: list[str] = []

    def hear(self, frames: bytes) -> None:
        for one in frames.decode().split("\n\n"):
            if not one or one.startswith(":"):
                continue
            found = re.search(r"^id: (.*)$", one, re.MULTILINE)
            if found:
                self.last_id = found[1]
                self.ids.append(found[1])
            if "event: text.reset" in one:
                self.text = ""
            elif "event: text.delta" in one:
                self.text += re.search(r'"text":"([^"]*)"', one)[1]  # type: ignore[index]


def drained(subscription: Subscription) -> bytes:
    frames, subscription._index = subscription._stream.frames_from(subscription._index)
    prefix, subscription._prefix = subscription._prefix, b""
    return prefix + frames


@settings(max_examples=150, deadline=None)
@given(steps, st.integers(2, 12))
async def test_whatever_is_said_and_dropped_the_client_ends_with_the_same_text(moves: list[_Step], held: int) -> None:
    stream = TurnStream(held)
    stream.start_epoch(1)
    stream.publish("turn.accepted", {})
    client = Client()
    subscription = stream.subscribe(None)
    for move, text in moves:
        if move == "say":
            stream.say(text, "coach")
        elif move == "reset":
            stream.reset("because")
        elif move == "other":
            stream.publish("agent.started", {"agent": "coach"})
        else:
            client.hear(drained(subscription))
            subscription.close()
            subscription = stream.subscribe(client.last_id)
    stream.publish("agent.completed", {})
    expected = stream.text
    stream.close("turn.completed", {})
    client.hear(drained(subscription))
    assert client.text == expected
    assert stream.listeners == 1
    assert len(stream._events) <= held


async def test_deltas_that_come_together_leave_together() -> None:
    stream = TurnStream(100)
    subscription = stream.subscribe(None)
    for letter in "abcdef":
        stream.say(letter, "coach")
    stream.close("turn.completed", {})
    frames = drained(subscription).decode()
    assert frames.count("event: text.delta") == 2
    assert '"text":"a"' in frames
    assert '"text":"bcdef"' in frames


async def test_a_heartbeat_reaches_who_has_nothing_else_to_read() -> None:
    stream = TurnStream(100)
    subscription = stream.subscribe(None)
    stream.beat()
    assert await subscription.read() == HEARTBEAT
    stream.say("a", "coach")
    stream.beat()
    assert HEARTBEAT not in (await subscription.read() or b"")
