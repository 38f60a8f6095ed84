"""Structured log events: a name and fields, never prose, prompts, answers, tokens or keys.

`log = event_log("turns")`, then `log.warning("lane.reclaimed", turn_id=…)`. One JSON object a line on stderr once
`configure` was called by the program; silent below warnings before that, as a library should be.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Literal, TextIO

from typing_extensions import override

Field = str | int | float | bool | None
ROOT = "ngx_agents"


class EventLog:
    """Events of one room."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def is_on(self, level: Literal["debug", "info"]) -> bool:
        """Whether such an event would be written: asked before putting one together that costs something."""
        return self._logger.isEnabledFor(logging.DEBUG if level == "debug" else logging.INFO)

    def debug(self, event: str, **fields: Field) -> None:
        self._emit(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Field) -> None:
        self._emit(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Field) -> None:
        self._emit(logging.WARNING, event, fields)

    def error(self, event: str, **fields: Field) -> None:
        self._emit(logging.ERROR, event, fields)

    def exception(self, event: str, **fields: Field) -> None:
        """Like `error`, with the traceback of the exception being handled."""
        self._emit(logging.ERROR, event, fields, with_traceback=True)

    def _emit(self, level: int, event: str, fields: dict[str, Field], *, with_traceback: bool = False) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, extra={"fields": fields}, exc_info=with_traceback)


def event_log(room: str) -> EventLog:
    return EventLog(logging.getLogger(f"{ROOT}.{room}"))


class _JsonLines(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname.lower(),
            "room": record.name.removeprefix(f"{ROOT}."),
            "event": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure(level: str = "warning", stream: TextIO | None = None) -> None:
    """Sends the package's events as JSON lines to `stream` (stderr). Called by programs, not by the library."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonLines())
    root = logging.getLogger(ROOT)
    root.handlers[:] = [handler]
    root.propagate = False
    root.setLevel(level.upper())
