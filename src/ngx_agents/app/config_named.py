"""Sections of which there may be several, each with a name of its own: `[agents.remote.<name>]`, `[mcp.<name>]`.

The file says which there are; a variable can only set what such a section has (`NGX_AGENTS_REMOTE_<NAME>_TOKEN`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from ngx_agents.app.setting import Section, Setting, setting, settings_of
from ngx_agents.errors import ConfigError

MAX_SECTIONS = 64  # of each kind
_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")


class RemoteAgentConfig(Section, frozen=True, kw_only=True):
    """An agent elsewhere that speaks A2A 1.0 and joins the team under this name."""

    card: Annotated[str, setting("Address of its agent card, such as https://host/.well-known/agent-card.json.")] = ""
    origins: Annotated[
        tuple[str, ...],
        setting("Other origins that its card may point to, such as https://api.host; no more than these are asked."),
    ] = ()
    token: Annotated[str | None, setting("What it is shown to let us in.", secret=True)] = None
    auth_header: Annotated[
        str, setting("Header that carries the token; in `Authorization` it stands after `Bearer`.")
    ] = "Authorization"
    skills: Annotated[tuple[str, ...], setting("Ids of its skills that are used; unset: all of its card.")] = ()
    timeout_s: Annotated[
        float, setting("Most time for one answer; the turn's own deadline holds too.", bounds=(0.1, 600))
    ] = 20.0
    max_response_bytes: Annotated[
        int, setting("Most bytes of one answer or of the card.", bounds=(1024, 67_108_864))
    ] = 1_048_576
    calls_per_minute: Annotated[int, setting("Most calls in a minute, of this process.", bounds=(1, 1_000_000))] = 600
    max_in_flight: Annotated[int, setting("Most calls at once, of this process.", bounds=(1, 10_000))] = 32
    refresh_s: Annotated[
        float, setting("How often its card is looked at where its cache headers do not say.", bounds=(1, 86_400))
    ] = 300.0


class McpServerConfig(Section, frozen=True, kw_only=True):
    """A server of tools that speaks MCP; its tools are given to specialists."""

    command: Annotated[
        tuple[str, ...], setting("Program and arguments of a server that is run here (stdio); or else url.")
    ] = ()
    pass_env: Annotated[
        tuple[str, ...], setting("Variables it gets beside PATH, HOME, LANG and TMPDIR; no other reaches it.")
    ] = ()
    url: Annotated[str | None, setting("Address of a server elsewhere (streamable HTTP).")] = None
    token: Annotated[str | None, setting("What it is shown to let us in (url).", secret=True)] = None
    auth_header: Annotated[
        str, setting("Header that carries the token; in `Authorization` it stands after `Bearer`.")
    ] = "Authorization"
    tools: Annotated[tuple[str, ...], setting("Names of its tools that may be called; `*` allows all it has.")] = ()
    agents: Annotated[tuple[str, ...], setting("Ids of the specialists that get them.")] = ()
    timeout_s: Annotated[float, setting("Most time for one call.", bounds=(0.1, 600))] = 20.0
    max_result_bytes: Annotated[
        int, setting("Most bytes of a result that reach the model; more are cut.", bounds=(256, 1_048_576))
    ] = 32_768


NAMED: Mapping[str, type[Section]] = {"agents.remote": RemoteAgentConfig, "mcp": McpServerConfig}


def flattened(content: Mapping[str, Any]) -> dict[str, Any]:
    """The file's sections with the named ones under `agents.remote.<name>`. Raises ConfigError for a bad name."""
    flat = dict(content)
    for kind in NAMED:
        first, *rest = kind.split(".")
        found: Any = content.get(first)
        for part in rest:
            found = found.get(part) if isinstance(found, dict) else None
        if found is not None:
            flat.pop(first, None)
            flat |= {f"{kind}.{name}": keys for name, keys in _checked(kind, found).items()}
    return flat | _others(content)


def named_settings(sections: Mapping[str, Any]) -> tuple[Setting, ...]:
    """The settings of the named sections among these."""
    found: list[Setting] = []
    for section in sections:
        kind = section.rpartition(".")[0]
        if kind in NAMED:
            found += settings_of(section, NAMED[kind])
    return tuple(found)


def _others(content: Mapping[str, Any]) -> dict[str, Any]:
    """What stands beside named sections under the same first word is read like any other section."""
    found = {}
    for kind in NAMED:
        first, *rest = kind.split(".")
        section = content.get(first)
        if rest and isinstance(section, dict) and (left := {k: v for k, v in section.items() if k != rest[0]}):
            found[first] = left
    return found


def _checked(kind: str, found: Any) -> dict[str, Any]:
    if not isinstance(found, dict) or not all(isinstance(keys, dict) for keys in found.values()):
        raise ConfigError(f"[{kind}] needs a name: write [{kind}.<name>]")
    for name in found:
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"[{kind}.{name}]: a name is made of small letters, digits and _, and begins with a letter"
            )
    if len(found) > MAX_SECTIONS:
        raise ConfigError(f"[{kind}.…]: {len(found)} sections, {MAX_SECTIONS} are the most")
    return found
