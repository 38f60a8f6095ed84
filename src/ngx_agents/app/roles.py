"""What an instance does: takes turns, runs them, or serves single agents; and which settings make no sense for it.

An instance runs turns when its role says so and the orchestrator is among its agents; a worker without it serves its
agents over Redis and needs no journal.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from difflib import get_close_matches

from ngx_agents.agents.cards import ORCHESTRATOR
from ngx_agents.app.config_sections import Config
from ngx_agents.errors import ConfigError


def runs_turns(config: Config) -> bool:
    agents = config.server.agents
    return config.server.role != "gateway" and (not agents or ORCHESTRATOR in agents)


def takes_turns(config: Config) -> bool:
    return config.server.role != "worker"


def serves_agents_alone(config: Config) -> bool:
    """Whether it is there for single agents and nothing else."""
    return config.server.role == "worker" and not runs_turns(config)


def is_on_redis(config: Config) -> bool:
    """Whether its agents are served over Redis, and the others asked there."""
    return bool(config.server.agents) and config.redis.url is not None


def role_troubles(config: Config) -> Iterator[str]:
    """One sentence for each combination that makes no sense."""
    role, agents = config.server.role, config.server.agents
    if agents:
        yield from _agents_troubles(config)
    if role == "all" or serves_agents_alone(config):
        return
    if not config.is_on_postgres:
        yield (
            f"[server] role = {role} (NGX_ROLE) needs [journal] url (NGX_JOURNAL_URL) on Postgres: an instance that "
            "does one half needs others"
        )
    if config.journal.local_acceptance:
        yield f"[journal] local_acceptance needs [server] role = all: role {role} takes or runs turns, not both"
    if role == "worker" and config.server.advertise is None and config.server.host in ("0.0.0.0", "::"):
        yield "[server] role = worker (NGX_ROLE) on all addresses needs [server] advertise (NGX_ADVERTISE)"


def require_known(config: Config, team: Collection[str]) -> None:
    """Raises ConfigError for an agent that the team does not have."""
    for name in config.server.agents:
        if name not in team:
            near = get_close_matches(name, team, n=1)
            hint = f": did you mean {near[0]}?" if near else f": there are {', '.join(sorted(team))}"
            raise ConfigError(f"[server] agents (NGX_AGENTS): the team has no agent {name[:64]!r}{hint}")


def _agents_troubles(config: Config) -> Iterator[str]:
    role = config.server.role
    if role == "gateway":
        yield "[server] agents (NGX_AGENTS) makes no sense with role = gateway, which runs none"
    if config.redis.url is None:
        yield "[server] agents (NGX_AGENTS) needs [redis] url (NGX_REDIS_URL), over which agents ask one another"
    if role == "all" and not runs_turns(config):
        yield f"[server] agents (NGX_AGENTS) without {ORCHESTRATOR} needs role = worker: nobody would answer turns"
    if serves_agents_alone(config) and config.server.workers > 1:
        yield f"[server] agents (NGX_AGENTS) without {ORCHESTRATOR} needs workers = 1: start it several times instead"
