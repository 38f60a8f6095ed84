"""What is posted to addresses of others: which may be, how each kind is written, and who sends it."""

from __future__ import annotations

from ngx_agents.app.config_sections import Config
from ngx_agents.app.foundation import Foundation
from ngx_agents.app.open_protocol import outbox_guard, task_letters
from ngx_agents.clock import Rng
from ngx_agents.state.journal import Journal
from ngx_agents.turns.outbox.letter import Sealer
from ngx_agents.turns.outbox.sender import Outbox, OutboxSettings
from ngx_agents.turns.webhooks import WebhookDesk


def webhook_desk(config: Config, foundation: Foundation) -> WebhookDesk:
    return WebhookDesk(guard=outbox_guard(config), sealer=Sealer(foundation.keys), clock=foundation.clock)


def build_outbox(config: Config, foundation: Foundation, *, journal: Journal, instance: str) -> Outbox:
    guard = outbox_guard(config)
    return Outbox(
        journal,
        instance=instance,
        renders={
            "task": task_letters(journal, foundation.keys, guard),
            **webhook_desk(config, foundation).renders,
        },
        guard=guard,
        clock=foundation.clock,
        rng=Rng(),
        metrics=foundation.metrics,
        settings=OutboxSettings(timeout_s=config.outbox.timeout_s, attempts=config.outbox.attempts),
    )
