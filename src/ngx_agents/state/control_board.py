"""Everything that operators decided, as this instance knows it: read at once, nothing is asked on the way of a turn.

Entered, it follows the journal's changes every `every_s`: a change holds on every instance soon after. While the
journal cannot be asked, what is known goes on to hold. One task refreshes; everybody reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.errors import NgxError
from ngx_agents.state.commands import Control, ForgetRevocations, ListControls
from ngx_agents.state.controls import (
    ACCOUNT_JOIN,
    HOUSE,
    Account,
    Budget,
    Document,
    Flag,
    OperatorMode,
    Plan,
    Tenant,
    read_document,
)
from ngx_agents.state.flags import is_on_for
from ngx_agents.state.governance import ControlKind
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Owner
from ngx_agents.state.revocations import Revocations
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics

log = event_log("state")
EVERY_S = 2.0
AT_ONCE = 1000
FORGET_EVERY_S = 600.0
DEFAULT_PLAN = "default"
_D = TypeVar("_D", bound=Document)


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for one user. `tenant_running_turns` bounds the whole tenant."""

    plan_name: str
    plan: Plan
    tenant_running_turns: int | None = None
    may_be_critical: bool = False
    is_suspended: bool = False


class ControlBoard:
    """Empty until the first `refresh`: then everybody has the default plan, and nothing is stopped."""

    def __init__(self, journal: Journal, *, clock: Clock, metrics: Metrics, every_s: float = EVERY_S) -> None:
        self._journal = journal
        self._clock = clock
        self._every_s = every_s
        self._known: dict[ControlKind, dict[str, Document]] = {}
        self._number = 0
        self._lock = asyncio.Lock()
        self._tasks: asyncio.TaskGroup | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._rules: dict[str, Rules] = {}
        self._default = Rules(plan_name=DEFAULT_PLAN, plan=Plan())
        self._listeners: list[Callable[[], None]] = []
        self.stops: dict[str, Document] = {}
        """The same object for ever, so that who looks often may keep it."""
        self.revocations = Revocations(self._known.setdefault("revocation", {}))
        self._forgot_s = clock.monotonic_s()
        self._flags: dict[str, Document] = {}
        self._accounts: dict[str, Document] = {}
        failures = metrics.counter("ngx_control_refresh_failed_total", "Refreshes of the controls that failed.")
        self._failed = failures.labels()

    def on_change(self, listener: Callable[[], None]) -> None:
        """`listener` is called in the event loop, after something changed."""
        self._listeners.append(listener)

    def all_of(self, kind: type[_D]) -> dict[str, _D]:
        """Every document of the kind, by its name."""
        return {name: one for known in self._known.values() for name, one in known.items() if isinstance(one, kind)}

    def rules_of(self, owner: Owner) -> Rules:
        if self._accounts:
            name = f"{owner.tenant}{ACCOUNT_JOIN}{owner.user}"
            if name in self._accounts:
                return self._rules.get(name) or self._learn(name, owner)
        return self._rules.get(owner.tenant) or self._tenant_rules(owner.tenant)

    def is_flag_on(self, flag: str, owner: Owner) -> bool:
        """False for a flag that nobody has set."""
        found = self._flags.get(flag)
        if not isinstance(found, Flag):
            return False
        return is_on_for(found, flag, owner, plan=self.rules_of(owner).plan_name)

    @property
    def operator_mode(self) -> OperatorMode | None:
        """What an operator set last, also when its time is over; None after it was taken back."""
        found = self._known.get("mode", {}).get(HOUSE)
        return found if isinstance(found, OperatorMode) else None

    def stopped(self, tenant: str, agent: str) -> str | None:
        """The name of the stop that keeps the model from being asked for them, None when none does."""
        if not self.stops:
            return None
        return next((name for name in ("all", f"tenant:{tenant}", f"agent:{agent}") if name in self.stops), None)

    async def __aenter__(self) -> Self:
        """Reads what there is; a journal that is away is asked again later."""
        await self.try_refresh()
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._refreshing = self._tasks.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tasks is not None and self._refreshing is not None:
            self._refreshing.cancel()
            await self._tasks.__aexit__(None, None, None)

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(self._every_s)
            await self.try_refresh()
            if self._clock.monotonic_s() - self._forgot_s >= FORGET_EVERY_S:
                await self.forget()

    async def forget(self) -> None:
        """Lets go of revocations that hold no more: here, and in the journal, where all instances may do so at once."""
        self._forgot_s, now_s = self._clock.monotonic_s(), self._clock.now_s()
        ended = self.revocations.ended(now_s)
        for name in ended:
            del self._known["revocation"][name]
        if not ended:
            return
        try:
            await self._journal.transact([ForgetRevocations(now=now_s)])
        except NgxError as error:
            log.warning("controls.not_forgotten", code=error.code)

    async def try_refresh(self) -> None:
        """Refreshes, or counts that the journal could not be asked."""
        try:
            await self.refresh()
        except NgxError as error:
            self._failed.inc()
            log.warning("controls.not_refreshed", code=error.code)

    async def refresh(self) -> None:
        """All changes up to now are known when it returns. Raises JournalUnavailable."""
        async with self._lock:
            has_changed, is_more = False, True
            while is_more:
                found: tuple[Control, ...] = await self._journal.query(
                    ListControls(after=self._number, limit=AT_ONCE)
                )  # fmt: skip
                for control in found:
                    self._take(control)
                    has_changed |= control.kind != "revocation"
                is_more = len(found) == AT_ONCE
            if has_changed:
                self._settle()

    def _take(self, control: Control) -> None:
        self._number = control.number
        known = self._known.setdefault(control.kind, {})
        if not control.body:
            known.pop(control.id, None)
            return
        try:
            known[control.id] = read_document(control.kind, control.body)
        except (KeyError, msgspec.MsgspecError):
            # a newer program's: what was known of it holds
            log.error("controls.not_understood", kind=control.kind, id=control.id)

    def _settle(self) -> None:
        self._rules.clear()
        self.stops.clear()
        self.stops.update(self._known.get("stop", {}))
        self._flags = self._known.get("flag", {})
        self._accounts = self._known.get("account", {})
        self._default = Rules(plan_name=DEFAULT_PLAN, plan=self._plan(DEFAULT_PLAN))
        for listener in self._listeners:
            listener()

    def _plan(self, name: str) -> Plan:
        """A plan that is not there any more is the default one."""
        plans = self._known.get("plan", {})
        found = plans.get(name) or plans.get(DEFAULT_PLAN)
        return found if isinstance(found, Plan) else Plan()

    def _tenant_rules(self, tenant: str) -> Rules:
        found = self._known.get("tenant", {}).get(tenant)
        if not isinstance(found, Tenant):
            return self._default
        made = self._rules[tenant] = Rules(
            plan_name=found.plan,
            plan=self._plan(found.plan),
            tenant_running_turns=found.running_turns,
            may_be_critical=found.may_be_critical,
            is_suspended=found.is_suspended,
        )
        return made

    def _learn(self, name: str, owner: Owner) -> Rules:
        tenant, account = self._tenant_rules(owner.tenant), self._accounts[name]
        assert isinstance(account, Account), "the decoder of its kind made it"
        plan_name = account.plan or tenant.plan_name
        may = tenant.may_be_critical if account.may_be_critical is None else account.may_be_critical
        made = self._rules[name] = msgspec.structs.replace(
            tenant,
            plan_name=plan_name,
            plan=self._plan(plan_name),
            may_be_critical=may,
            is_suspended=tenant.is_suspended or account.is_suspended,
        )
        return made

    def budgets(self) -> dict[str, Budget]:
        return self.all_of(Budget)
