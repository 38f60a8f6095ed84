"""What one worker process gets of a server's bounds: settings mean the whole server, so each of N gets an Nth."""

from __future__ import annotations

import msgspec

from ngx_agents.app.config_sections import Config

# (section, setting) of what is divided; everything else holds in each process, or is kept by all of them together
DIVIDED = (
    ("edge", "max_connections"),
    ("admission", "capacity"),
    ("turns", "max_running"),
    ("vertex", "connection_pool_size"),
    ("vertex", "max_cache_size"),
    ("journal", "memory_bytes"),
)


def share_of(config: Config, worker: int, workers: int) -> Config:
    """The configuration of worker 0 to `workers` - 1. The shares add up to the whole; none is less than one."""
    changed = config
    for section, field in DIVIDED:
        part = getattr(changed, section)
        whole: int = getattr(part, field)
        own = whole // workers + (worker < whole % workers)
        changed = msgspec.structs.replace(
            changed, **{section: msgspec.structs.replace(part, **{field: max(min(whole, 1), own)})}
        )
    quota_instances = config.vertex.quota_instances * workers
    return msgspec.structs.replace(
        changed, vertex=msgspec.structs.replace(changed.vertex, quota_instances=quota_instances)
    )
