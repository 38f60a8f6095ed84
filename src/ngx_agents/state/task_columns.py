"""What an accepted turn brings into its row, and whether another may say its text: the same for every journal."""

from __future__ import annotations

from ngx_agents.state import commands as c


def task_columns(command: c.AcceptTurn) -> tuple[str | None, str | None, bytes | None]:
    """Task, context and message as received; None for a turn of no task."""
    task = command.task
    return (None, None, None) if task is None else (task.task_id or command.turn_id, task.context_id, task.message)


def subject_of(command: c.AcceptTurn) -> str:
    """What the command's webhook is about: its task, else the turn."""
    return command.turn_id if command.task is None else command.task.task_id or command.turn_id


def stands_alone(command: c.AcceptTurn) -> bool:
    """Whether it is a text and nothing else, which may be said by another turn than its own."""
    return not command.attachments and command.task is None and command.push is None
