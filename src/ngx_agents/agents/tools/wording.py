"""What the tools say, in both languages, kept in one TOML file per tool.

A file is a tree of tables whose leaves are `{ es = "…", en = "…" }`; a key is the dotted path to a leaf.
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any

from ngx_agents.agents.tools.tool import Language

PACKAGE = "ngx_agents.agents.tools"


def load_table(path: str) -> dict[str, Any]:
    """The TOML file at `path`, relative to the tools' folder."""
    return tomllib.loads(files(PACKAGE).joinpath(path).read_text(encoding="utf-8"))


class Wording:
    """All strings of one tool. Raises KeyError for a key or language that is not there."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self._leaves: dict[str, dict[str, str]] = {}
        self._flatten("", tree)

    def say(self, language: Language, key: str, /, **values: object) -> str:
        """The string of `key`, its `{placeholders}` filled with `values`."""
        text = self._leaves[key][language]
        return text.format(**values) if values else text

    def keys(self) -> frozenset[str]:
        return frozenset(self._leaves)

    def _flatten(self, prefix: str, tree: dict[str, Any]) -> None:
        for name, value in tree.items():
            if isinstance(value, dict) and set(value) == {"es", "en"}:
                self._leaves[prefix + name] = value
            elif isinstance(value, dict):
                self._flatten(f"{prefix}{name}.", value)


def load_wording(path: str) -> Wording:
    return Wording(load_table(path))
