"""What `ngx chat` shows: a spinner until the first word, the answer as it streams, then where it came from.

On a terminal the spinner runs and the badge is dim; into a pipe goes only the finished answer, because a
script cannot take back text that the server withdraws (`text.reset`).
"""

from __future__ import annotations

import asyncio
from typing import Any, TextIO

from ngx_agents.cli.sse import ServerEvent

FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
FRAME_S = 0.08
CLEAR_LINE = "\r\x1b[2K"
DIM, PLAIN = "\x1b[2m", "\x1b[0m"


class Screen:
    """One turn on the screen. `answers` takes the text, `notes` everything about it.

    Text that is withdrawn and then said again, as after a reconnect, is not shown twice: only what differs from
    what stands on the screen starts anew.
    """

    def __init__(self, answers: TextIO, notes: TextIO) -> None:
        self._answers = answers
        self._notes = notes
        self._live = answers.isatty()
        self._dim = (DIM, PLAIN) if notes.isatty() else ("", "")
        self._text = ""
        self._shown = ""
        self._artifacts: dict[object, str] = {}
        self._waiting_for = "…"
        self._is_waiting = self._live

    async def spin(self) -> None:
        """Turns the spinner until the first word, or until cancelled."""
        frame = 0
        while self._is_waiting:
            self._answers.write(f"{CLEAR_LINE}{DIM}{FRAMES[frame % len(FRAMES)]} {self._waiting_for}{PLAIN}")
            self._answers.flush()
            frame += 1
            await asyncio.sleep(FRAME_S)

    def show(self, event: ServerEvent) -> None:
        """Shows one event of the turn, in the order they come."""
        match event.name:
            case "text.delta":
                self._say(str(event.data.get("text", "")))
            case "text.reset":
                self._text = ""
            case "turn.accepted" if event.data.get("position"):
                self._waiting_for = f"waiting behind {event.data['position']} …"
            case "agent.started":
                self._waiting_for = f"{event.data.get('agent', '')} …"
            case "artifact":
                data = event.data
                self._artifacts[data.get("id")] = f"{data.get('kind')}: {data.get('title')} ({data.get('id')})"
            case "turn.completed" | "turn.failed" | "turn.cancelled":
                self._finish(event)
            case _:
                pass

    def stop_waiting(self) -> None:
        """Takes the spinner away."""
        if self._is_waiting:
            self._is_waiting = False
            self._answers.write(CLEAR_LINE)
            self._answers.flush()

    def _say(self, text: str) -> None:
        self.stop_waiting()
        self._text += text
        if self._live and not self._shown.startswith(self._text):
            self._catch_up()

    def _catch_up(self) -> None:
        if not self._text.startswith(self._shown):
            self._end_line(self._shown)
            self._note("— the text above is withdrawn —")
            self._shown = ""
        self._answers.write(self._text[len(self._shown) :])
        self._answers.flush()
        self._shown = self._text

    def _finish(self, event: ServerEvent) -> None:
        self.stop_waiting()
        self._catch_up()
        self._end_line(self._shown)
        for line in self._artifacts.values():
            self._note(f"▸ {line}")
        self._note(badge(event.name, event.data))

    def _end_line(self, text: str) -> None:
        if text and not text.endswith("\n"):
            self._answers.write("\n")
            self._answers.flush()

    def _note(self, text: str) -> None:
        on, off = self._dim
        self._notes.write(f"{on}{text}{off}\n")
        self._notes.flush()


def badge(name: str, data: dict[str, Any]) -> str:
    """One line on how a turn ended: where the answer came from, or why there is none."""
    if name == "turn.cancelled":
        return "— cancelled —"
    if name == "turn.failed":
        wait = data.get("retry_after_s")
        again = f"; try again in {wait:g} s" if isinstance(wait, int | float) else ""
        return f"— failed: {data.get('message') or data.get('code')}{again} —"
    facts = [data.get("source"), data.get("model"), data.get("location"), ", ".join(data.get("agents") or ())]
    if data.get("degraded"):
        facts.append("degraded")
    return f"— {' · '.join(str(fact) for fact in facts if fact)} —"
