"""What both journals decide alike about schedules; nothing here does I/O."""

from __future__ import annotations

from ngx_agents.state import commands as c


def weekdays_stored(weekdays: tuple[int, ...]) -> str:
    return "".join(str(day) for day in weekdays)


def weekdays_read(stored: str) -> tuple[int, ...]:
    return tuple(int(day) for day in stored)


def acceptance(command: c.FireSchedule, schedule: c.Schedule) -> c.AcceptTurn:
    """The schedule's message as a turn. Its message has the turn's id but for the kind."""
    return c.AcceptTurn(
        conversation_id=schedule.conversation_id, owner=command.owner, turn_id=command.turn_id,
        message_id=f"m{command.turn_id[1:]}", text=schedule.text, turn_class=command.turn_class, when_busy="enqueue",
        now=command.now, deadline_at=command.deadline_at, grant_to=command.instance, agent=schedule.agent,
        locale=schedule.locale,
    )  # fmt: skip


def told_of_firing(command: c.FireSchedule) -> dict[str, object]:
    """What standing webhooks are told of a message that was sent."""
    return {
        "schedule_id": command.id, "turn_id": command.turn_id, "due_at": command.due_at, "skipped": command.skipped
    }  # fmt: skip


def anew(told: c.AcceptTurn) -> c.CreateConversation:
    """The conversation that the schedule's message goes to, for when it was deleted."""
    return c.CreateConversation(id=told.conversation_id, owner=told.owner, title="", now=told.now)
