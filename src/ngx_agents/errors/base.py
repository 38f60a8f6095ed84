"""The root of all errors, and what is wrong before anything runs."""

from __future__ import annotations

from typing import ClassVar


class NgxError(Exception):
    """Root of all. `str(error)` may be shown to the caller: it never holds foreign text or secrets."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False
    first_aid: str | None = None
    """What a person must read although their message was refused; set where the message is known."""

    @property
    def words(self) -> str:
        """The text of the error, after what must be read first."""
        return str(self) if self.first_aid is None else f"{self.first_aid}\n\n{self}"


class ConfigError(NgxError):
    code = "config"
