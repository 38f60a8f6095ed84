"""The configuration, merged from its sources and checked, with the origin of every value.

`ngx.toml`, then `NGX_*` variables, then flags; the later wins. Reading is strict: an unknown name is an error
that names the nearest known one; a value of the wrong type one that names setting, source and expectation.
This is the only place of the server that reads the environment.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import get_origin, get_type_hints

import msgspec

from ngx_agents.app.config_checks import troubles
from ngx_agents.app.config_named import NAMED, named_settings
from ngx_agents.app.config_sections import Config
from ngx_agents.app.config_sources import Given, load_file, read_environment, read_file, read_flags
from ngx_agents.app.setting import Section, Setting, settings_of
from ngx_agents.errors import ConfigError

FILE_NAME = "ngx.toml"
__all__ = ["Config", "LoadedConfig", "all_settings", "inherited_environment", "load_config", "read_config", "sections"]


class LoadedConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`origins` maps settings (`server.port`) to `default`, `ngx.toml:3`, `env NGX_PORT` or `flag --port`.

    `settings` are all there are, with those of the file's named sections.
    """

    config: Config
    origins: dict[str, str]
    settings: tuple[Setting, ...]

    def shown(self) -> tuple[tuple[str, str, str], ...]:
        """(name, value, origin) of every setting, secrets masked."""
        return tuple((one.name, one.shown(self.value(one)), self.origins[one.name]) for one in self.settings)

    def value(self, one: Setting) -> object:
        """The effective value of one setting, not masked."""
        value: object = getattr(self.config.section(one.section), one.field)
        return value


@cache
def all_settings() -> tuple[Setting, ...]:
    """Every setting that there always is, in the order of the sections."""
    return tuple(one for section, struct in sections().items() for one in settings_of(section, struct))


def sections() -> dict[str, type[Section]]:
    """The section Structs by their names in the file, without the named ones."""
    return {name: kind for name, kind in get_type_hints(Config).items() if get_origin(kind) is None}


def read_config(
    *,
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> LoadedConfig:
    """The merged and typed configuration, not yet checked for sense.

    `path` None means `ngx.toml` in the working directory, if there is one; `environ` None the process's own;
    `flags` maps `server.port` to a value, None for a flag that was not given.
    Raises ConfigError: unreadable file, unknown name, value of the wrong type.
    """
    file = load_file(path or Path(FILE_NAME)) if path is not None or Path(FILE_NAME).is_file() else None
    named = {} if file is None else {name: None for name in file.sections if name.rpartition(".")[0] in NAMED}
    settings = (*all_settings(), *named_settings(named))
    given = {} if file is None else read_file(file, settings)
    given |= read_environment(os.environ if environ is None else environ, settings)
    given |= read_flags(flags or {}, settings)
    values = {one.name: _converted(one, given[one.name]) for one in settings if one.name in given}
    single = {name: _section(name, struct, values) for name, struct in sections().items()}
    config = msgspec.convert({**single, **_named(named, values)}, Config)
    origins = {one.name: given[one.name].origin if one.name in given else "default" for one in settings}
    return LoadedConfig(config=config, origins=origins, settings=settings)


def load_config(
    *,
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> LoadedConfig:
    """Like `read_config`, and checked. Raises ConfigError also for settings that do not fit together."""
    loaded = read_config(path=path, environ=environ, flags=flags)
    for trouble in troubles(loaded.config):
        raise ConfigError(trouble)
    return loaded


def _section(name: str, struct: type[Section], values: Mapping[str, object]) -> Section:
    prefix = f"{name}."
    return struct(**{key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)})


def _named(names: Iterable[str], values: Mapping[str, object]) -> dict[str, dict[str, Section]]:
    """The named sections, under the fields of `Config` that hold them."""
    found: dict[str, dict[str, Section]] = {"agents.remote": {}, "mcp": {}}
    for name in names:
        kind, _, last = name.rpartition(".")
        found[kind][last] = _section(name, NAMED[kind], values)
    return {"remote_agents": found["agents.remote"], "mcp_servers": found["mcp"]}


def inherited_environment(names: Iterable[str]) -> dict[str, str]:
    """Those of these variables that are set in the process's own environment."""
    return {name: os.environ[name] for name in names if name in os.environ}


def _converted(one: Setting, given: Given) -> object:
    raw = given.raw
    if one.is_list and isinstance(raw, str) and given.is_text:
        raw = [part.strip() for part in raw.split(",") if part.strip()]
    try:
        value: object = msgspec.convert(raw, one.type, strict=not given.is_text)
    except msgspec.ValidationError as exc:
        got = "" if one.secret else f", got {given.raw!r}"
        raise ConfigError(f"{one.label} ({given.origin}): expected {one.expected}{_unquoted(one, given)}{got}") from exc
    return value


def _unquoted(one: Setting, given: Given) -> str:
    """What to say when a number of the file would be right without its quotes."""
    if given.is_text or not isinstance(given.raw, str):
        return ""
    try:
        msgspec.convert(given.raw, one.type, strict=False)
    except msgspec.ValidationError:
        return ""
    return ", without quotes"
