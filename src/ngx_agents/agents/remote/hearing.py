"""What an agent elsewhere has said so far, from the events of its answer: text, artifacts, how the task stands.

Pure: events in, changes out. Text of artifacts and of a direct message is the answer; what a status says counts when
it ends the task or asks for more and no artifact spoke. Progress words in between are not shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ngx_agents.agents.remote.wire import ArtifactUpdate, Part, RemoteArtifact, Status, StreamEvent, Task
from ngx_agents.errors import RemoteProtocolError, RemoteRefused, RemoteUnavailable

MAX_ARTIFACTS = 16
ENDED = {"TASK_STATE_COMPLETED", "TASK_STATE_FAILED", "TASK_STATE_CANCELED", "TASK_STATE_REJECTED"}
ASKING = {"TASK_STATE_INPUT_REQUIRED", "TASK_STATE_AUTH_REQUIRED"}


class Hearing:
    """One answer. `text` is all of it; `is_over` when nothing more is to come, `is_asking` when the task waits for
    what the user says to that."""

    def __init__(self) -> None:
        self.task_id: str | None = None
        self.is_over = False
        self.is_asking = False
        self._texts: dict[str, str] = {}
        self._last_words = ""
        self._things: dict[str, RemoteArtifact] = {}

    @property
    def text(self) -> str:
        return "\n\n".join(filter(None, self._texts.values())) or self._last_words

    @property
    def things(self) -> Sequence[tuple[str, dict[str, Any]]]:
        """Artifacts with more than text, as (title, data)."""
        return [
            (artifact.name or artifact_id, {"parts": [_kept(part) for part in artifact.parts if part.text is None]})
            for artifact_id, artifact in self._things.items()
        ]

    def take(self, event: StreamEvent) -> None:
        """Raises RemoteRefused, RemoteUnavailable when the task ends so; RemoteProtocolError."""
        if event.message is not None:
            self._last_words = _text(event.message.parts)
            self._keep(RemoteArtifact(artifact_id="message", parts=event.message.parts))
            self.is_over = True
        elif event.task is not None:
            self._snapshot(event.task)
        elif event.artifact_update is not None:
            self.task_id = event.artifact_update.task_id
            self._update(event.artifact_update)
        elif event.status_update is not None:
            self.task_id = event.status_update.task_id
            self._status(event.status_update.status)
        else:
            raise RemoteProtocolError("it sent an event of no known kind")

    def _snapshot(self, task: Task) -> None:
        self.task_id = task.id
        for artifact in task.artifacts:
            self._texts[artifact.artifact_id] = _text(artifact.parts)
            self._keep(artifact)
        self._status(task.status)

    def _update(self, update: ArtifactUpdate) -> None:
        artifact = update.artifact
        known = self._texts.get(artifact.artifact_id, "") if update.append else ""
        self._texts[artifact.artifact_id] = known + _text(artifact.parts)
        before = self._things.get(artifact.artifact_id)
        if update.append and before is not None:
            artifact = RemoteArtifact(
                artifact_id=artifact.artifact_id, parts=before.parts + artifact.parts, name=before.name
            )
        self._keep(artifact)

    def _keep(self, artifact: RemoteArtifact) -> None:
        if len(self._texts) > MAX_ARTIFACTS:
            raise RemoteProtocolError("it sends more artifacts than are kept")
        if any(part.text is None for part in artifact.parts):
            self._things[artifact.artifact_id] = artifact

    def _status(self, status: Status) -> None:
        if status.state not in ENDED | ASKING:
            return
        self.is_over = True
        self.is_asking = status.state == "TASK_STATE_INPUT_REQUIRED"
        if status.state == "TASK_STATE_FAILED":
            raise RemoteUnavailable("its task failed")
        if status.state in ("TASK_STATE_REJECTED", "TASK_STATE_CANCELED"):
            raise RemoteRefused("it rejected or cancelled the task")
        words = _text(status.message.parts) if status.message is not None else ""
        if status.state in ASKING and words:
            self._texts["question"] = words
        self._last_words = words


def _text(parts: Sequence[Part]) -> str:
    return "".join(part.text for part in parts if part.text is not None)


def _kept(part: Part) -> dict[str, Any]:
    """A part as it is kept: its content under the name of its kind."""
    kept: dict[str, Any] = {}
    for name in ("data", "raw", "url", "media_type", "filename"):
        if (value := getattr(part, name)) is not None:
            kept[name] = value
    return kept
