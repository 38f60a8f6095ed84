"""What each command touches: two that touch the same keep their order, and are never at work at once."""

from __future__ import annotations

from ngx_agents.state import commands as c
from ngx_agents.state.postgres_store import lane_of


def touched(command: c.Command) -> str:
    lane = lane_of(command)
    if lane is not None:
        return lane
    match command:
        case c.RequestCancel() | c.ReplayTurn():
            return command.turn_id
        case c.PutProfile() | c.AddLog() | c.EraseUser() | c.PutBlob() | c.DeleteBlob() | c.PutConsent():
            return f"{command.owner.tenant}/{command.owner.user}"
        case c.PutKey():
            return command.key.digest.hex()
        case c.RevokeKey() | c.EndKey():
            return command.digest.hex()
        case _:
            return _touched_by_task(command)


def _touched_by_task(command: c.Command) -> str:
    match command:
        case c.EndTask() | c.PutPush() | c.DeletePush():
            return command.task_id
        case c.AddPost():
            return command.subject
        case c.SettlePush() | c.ReplayPush():
            return f"outbox/{command.number}"
        case _:
            return _touched_of_later(command)


def _touched_of_later(command: c.Command) -> str:
    match command:
        case c.CreateBatch() | c.DeleteSchedule() | c.FireSchedule():
            return command.id
        case c.PutSchedule():
            return command.schedule.id
        case c.CreateWebhook():
            return command.webhook.id
        case c.ChangeWebhook() | c.DeleteWebhook() | c.TryWebhook():
            return command.id
        case c.AddBatchItems() | c.StartBatch() | c.DropBatch() | c.TakeItems() | c.CancelBatch() | c.SettleBatch():
            return command.batch_id
        case _:
            return _touched_by_instance(command)


def _touched_by_instance(command: c.Command) -> str:
    match command:
        case c.Beat() | c.Leave() | c.TryElect() | c.ClaimPushes():
            return command.instance
        case c.Expire():
            return f"expire/{command.kind}"
        case _:
            return _touched_by_operator(command)


def _touched_by_operator(command: c.Command) -> str:
    match command:
        case c.PutControl() | c.ForgetRevocations():
            return "control"
        case c.WriteAudit():
            return command.entry.id
        case c.TouchKey():
            return f"used/{command.digest.hex()}"
        case c.TakeBudget() | c.GiveBudget():
            return f"meter/{command.meter}"
        case c.ForgetBudgets():
            return "meters"
        case c.Audited():
            return touched(command.command)
        case _:
            raise TypeError(f"{type(command).__name__} is not a command")
