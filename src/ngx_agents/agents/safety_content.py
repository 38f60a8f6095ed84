"""The safety content (`team/safety.toml`) as typed records, decoded strictly: an unknown or missing key is an error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import msgspec

from ngx_agents.agents.language import Localized
from ngx_agents.errors import ConfigError

FlagKind = Literal["emergency", "overdose", "glucose", "crisis", "eating", "pace"]


class SignContent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`unless` looks at the sentence, `needs` at the whole text; `firm` signs are excused by direct negation only."""

    pattern: str
    unless: str | None = None
    needs: str | None = None
    firm: bool = False


class FlagContent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    kind: FlagKind
    name: Localized
    anchors: tuple[str, ...]
    signs: tuple[SignContent, ...]


class CautionContent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    anchors: tuple[str, ...]
    patterns: tuple[str, ...]
    guidance: Localized


class Excuses(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    negation: str
    question: str
    personal: str
    past: str
    present: str


class Referral(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    es: str
    en: str
    said: str


class Withheld(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    es: str
    en: str
    anchors: tuple[str, ...]
    patterns: tuple[str, ...]
    unless: str


class Reminder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is said first after a flag of this kind; `holds` are the intents that then get no plan."""

    es: str
    en: str
    holds: tuple[str, ...]


class Held(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is said in place of a plan, and the pattern of what the user says to end that."""

    es: str
    en: str
    released: str


class Contact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    emergency: str
    crisis: str


class SafetyContent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file. `contacts` has a key per locale and one per bare language, the default of its locales.

    A kind of flag that has no reminder is not spoken of again.
    """

    parts: dict[str, str]
    excuses: Excuses
    flags: tuple[FlagContent, ...]
    cautions: tuple[CautionContent, ...]
    referral: Referral
    withheld: Withheld
    contacts: dict[str, Contact]
    texts: dict[FlagKind, Localized]
    reminders: dict[FlagKind, Reminder]
    held: Held

    def compiled(self, pattern: str) -> re.Pattern[str]:
        """The pattern with its `<parts>` put in; parts may hold parts. Raises ConfigError for a bad pattern."""
        try:
            return re.compile(self._expanded(pattern))
        except re.error as exc:
            raise ConfigError(f"safety.toml: {exc} in pattern {pattern!r}") from exc

    def _expanded(self, pattern: str) -> str:
        for _ in range(3):
            for name, text in self.parts.items():
                pattern = pattern.replace(f"<{name}>", text)
        return pattern


def load_safety(path: Path) -> SafetyContent:
    """Raises ConfigError naming file and key."""
    try:
        content = msgspec.toml.decode(path.read_bytes(), type=SafetyContent)
    except (msgspec.DecodeError, OSError) as exc:
        raise ConfigError(f"{path.name}: {exc}") from exc
    for flag in content.flags:
        if flag.kind not in content.texts:
            raise ConfigError(f"{path.name}: no text of kind {flag.kind!r}, which flag {flag.id!r} has")
    for language in ("es", "en"):
        if language not in content.contacts:
            raise ConfigError(f"{path.name}: contacts.{language} is missing")
    return content
