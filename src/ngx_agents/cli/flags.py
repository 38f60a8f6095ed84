"""The flags that set settings, made from the settings, for every command that reads the configuration."""

from __future__ import annotations

import argparse
from pathlib import Path

from ngx_agents.app.config import LoadedConfig, all_settings, load_config, read_config


def add_config_flags(parser: argparse.ArgumentParser, *names: str) -> None:
    """Adds `--config` and the flags of the named settings; when none is named, of all that a server uses."""
    group = parser.add_argument_group("settings", "override ngx.toml and the NGX_* variables")
    group.add_argument("--config", type=Path, metavar="FILE", help="configuration file (default: ./ngx.toml if there)")
    for one in all_settings():
        if one.flag and (one.name in names or (not names and one.section != "client")):
            default = f" (default: {one.shown(one.default)})" if one.default is not None else ""
            metavar = one.field.upper()
            told = one.help.rstrip(".") + default
            if isinstance(one.default, bool):
                group.add_argument(
                    one.flag,
                    dest=one.name,
                    nargs="?",
                    const=str(not one.default).lower(),
                    metavar="true|false",
                    help=told,
                )
            else:
                group.add_argument(one.flag, dest=one.name, metavar=metavar, help=told)


def loaded_config(args: argparse.Namespace, *, checked: bool = True) -> LoadedConfig:
    """The configuration that these arguments ask for. Raises ConfigError."""
    given = {one.name: getattr(args, one.name, None) for one in all_settings()}
    load = load_config if checked else read_config
    return load(path=args.config, flags=given)
