"""What operators decide and what holds because of it: controls, limits, budgets. Made here, entered by the lifespan."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from ngx_agents.agents.spending import Spending, SpendingSettings
from ngx_agents.agents.turn_budgets import TurnBudgets
from ngx_agents.app.config_sections import Config
from ngx_agents.app.foundation import Foundation
from ngx_agents.gateway.limits import Limits
from ngx_agents.gateway.mode_switch import ModeSwitch
from ngx_agents.state.budget_ledger import BudgetLedger
from ngx_agents.state.control_board import ControlBoard
from ngx_agents.state.journal import Journal
from ngx_agents.state.key_uses import KeyUses


@dataclass(frozen=True, slots=True, kw_only=True)
class Governance:
    """`limits` is None without authentication: then everybody is the one local user, and there is nobody to bound.
    `spending` and `turn_budgets` are None without a model."""

    controls: ControlBoard
    ledger: BudgetLedger
    limits: Limits | None
    spending: Spending | None
    turn_budgets: TurnBudgets | None
    key_uses: KeyUses
    mode_switch: ModeSwitch


def governance_of(config: Config, journal: Journal, foundation: Foundation, *, model: str | None) -> Governance:
    """`model` is the one that answers."""
    clock, metrics = foundation.clock, foundation.metrics
    controls = ControlBoard(journal, clock=clock, metrics=metrics)
    ledger = BudgetLedger(journal, clock=clock)
    limits = spending = None
    if config.auth.mode != "none":
        limits = Limits(
            controls,
            clock=clock,
            metrics=metrics,
            shared=foundation.shared,
            sharers=config.server.workers,
            member=secrets.token_hex(8),
        )
    if model is not None:
        settings = SpendingSettings(
            model=model,
            cheaper_model=config.budgets.cheaper_model,
            reserved_output_tokens=config.budgets.reserved_output_tokens,
            has_house_budgets=config.budgets.house,
        )
        spending = Spending(settings, controls=controls, ledger=ledger, clock=clock, metrics=metrics)
    return Governance(
        controls=controls,
        ledger=ledger,
        limits=limits,
        spending=spending,
        turn_budgets=TurnBudgets(spending) if spending is not None else None,
        key_uses=KeyUses(journal, clock=clock),
        mode_switch=ModeSwitch(foundation.modes, controls, clock=clock),
    )
