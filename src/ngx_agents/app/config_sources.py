"""Where settings come from: the file, the environment, the flags. Each source names itself in what it gives.

Unknown names are errors here, before any value is looked at; an empty variable counts as not set.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from ngx_agents.app.config_named import flattened
from ngx_agents.app.setting import Setting
from ngx_agents.errors import ConfigError

PREFIX = "NGX_"


class Given(msgspec.Struct, frozen=True):
    """A value as its source has it. `is_text`: the source knows only text, so that "8000" may be a number."""

    raw: Any
    origin: str
    is_text: bool


class FileText(msgspec.Struct, frozen=True):
    """A TOML file, read: `sections` has the named ones under their whole names."""

    path: Path
    text: str
    sections: dict[str, Any]


def load_file(path: Path) -> FileText:
    """Raises ConfigError: unreadable, not TOML, a named section without a good name."""
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8"
        raise ConfigError(f"cannot read {path}: {reason}") from exc
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path} is not TOML: {exc}") from exc
    return FileText(path, text, flattened(content))


def read_file(file: FileText, settings: Sequence[Setting]) -> dict[str, Given]:
    """The settings of a TOML file. Raises ConfigError: unknown section or key."""
    path, text = file.path, file.text
    known = {one.name: one for one in settings}
    given = {}
    for section, keys in file.sections.items():
        _check_section(section, keys, path, settings)
        for key, raw in keys.items():
            origin = _place(path, text, section, key)
            if f"{section}.{key}" not in known:
                raise ConfigError(f"unknown setting [{section}] {key} ({origin}){_key_hint(section, key, settings)}")
            given[f"{section}.{key}"] = Given(raw, origin, is_text=False)
    return given


def read_environment(environ: Mapping[str, str], settings: Sequence[Setting]) -> dict[str, Given]:
    """The settings of the environment. Raises ConfigError for an NGX_ variable that sets nothing."""
    known = {name for one in settings for name in one.env}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known:
            raise ConfigError(f"unknown variable {name}{_did_you_mean(name, sorted(known))}")
    given = {}
    for one in settings:
        for name in reversed(one.env):
            if environ.get(name):
                given[one.name] = Given(environ[name], f"env {name}", is_text=True)
    return given


def read_flags(flags: Mapping[str, object], settings: Sequence[Setting]) -> dict[str, Given]:
    """The settings of the command line; None is a flag not given. Raises ConfigError for an unknown name."""
    known = {one.name: one for one in settings}
    given = {}
    for name, raw in flags.items():
        if name not in known:
            raise ConfigError(f"unknown setting {name}{_did_you_mean(name, known)}")
        if raw is not None:
            given[name] = Given(raw, f"flag {known[name].flag or name}", is_text=isinstance(raw, str))
    return given


def _check_section(section: str, keys: object, path: Path, settings: Sequence[Setting]) -> None:
    names = sorted({one.section for one in settings})
    if section not in names:
        what = "section" if isinstance(keys, dict) else "setting"
        raise ConfigError(f"unknown {what} {section} ({path}){_section_hint(section, names, settings)}")
    if not isinstance(keys, dict):
        raise ConfigError(f"{section} ({path}): expected a section, [{section}]")


def _section_hint(section: str, names: Sequence[str], settings: Sequence[Setting]) -> str:
    homes = [one.label for one in settings if one.field == section]
    if homes:
        return f": did you mean {' or '.join(homes)}?"
    return _did_you_mean(section, names)


def _key_hint(section: str, key: str, settings: Sequence[Setting]) -> str:
    elsewhere = [one.label for one in settings if one.field == key]
    if elsewhere:
        return f": did you mean {' or '.join(elsewhere)}?"
    return _did_you_mean(key, [one.field for one in settings if one.section == section])


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = get_close_matches(name, names, n=1, cutoff=0.6)
    return f": did you mean {near[0]}?" if near else f"; known are {', '.join(names)}"


def _place(path: Path, text: str, section: str, key: str) -> str:
    """`ngx.toml:3` for the usual `[section]` and `key = value` lines, the file alone for rarer ways."""
    current = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\s*([\w.-]+)\s*\]", line):
            current = header[1]
        elif (found := re.match(r"\s*([\w.-]+)\s*=", line)) and (
            (current == section and found[1] == key) or (not current and found[1] == f"{section}.{key}")
        ):
            return f"{path}:{number}"
    return str(path)
