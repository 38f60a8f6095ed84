import asyncio
import getpass

import pytest

from ngx_agents.clock import SystemClock
from ngx_agents.state.commands import ListAudit
from ngx_agents.state.control_board import ControlBoard
from ngx_agents.state.controls import Account, Budget, Flag, Plan, Stop, Tenant
from ngx_agents.state.sqlite import SqliteJournal
from ngx_agents.telemetry.metrics import Metrics
from tests.cli.command import ngx_here


def known(folder):
    """(all documents by kind and name, the audit log)."""
    return asyncio.run(_known(folder / "d" / "journal.db"))


async def _known(path):
    journal = SqliteJournal(path, exclusive=False)
    await journal.open()
    try:
        board = ControlBoard(journal, clock=SystemClock(), metrics=Metrics())
        await board.refresh()
        found = [board.all_of(kind) for kind in (Plan, Tenant, Account, Flag, Budget, Stop)]
        return found, (await journal.query(ListAudit())).items
    finally:
        await journal.close()


def ngx(folder, *words):
    return ngx_here(*words, cwd=folder, NGX_DATA_DIR="d")


def test_a_plan_is_made_changed_in_part_listed_and_removed_with_a_trace(tmp_path):
    assert ngx(tmp_path, "plans", "set", "gold", "--turns-per-minute", "300").returncode == 0
    assert ngx(tmp_path, "plans", "set", "gold", "--turns-per-day", "7").returncode == 0
    [plans, *_], _ = known(tmp_path)
    assert plans == {"gold": Plan(turns_per_minute=300, turns_per_day=7)}
    listed = ngx(tmp_path, "plans", "list").stdout.splitlines()
    assert listed[1].split()[:5] == ["gold", "1200", "300", "1000", "7"]
    assert ngx(tmp_path, "plans", "remove", "gold").returncode == 0
    [plans, *_], audit = known(tmp_path)
    assert plans == {}
    assert [one.action for one in audit] == ["plan.remove", "plan.put", "plan.put"]
    assert audit[0].actor == f"cli/{getpass.getuser()}"
    assert ngx(tmp_path, "plans", "remove", "gold").returncode == 1


def test_tenants_users_flags_budgets_and_stops_are_set(tmp_path):
    for line in (
        ["tenants", "set", "acme", "--plan", "gold", "--is-suspended", "yes"],
        ["tenants", "set-user", "acme", "ana", "--may-be-critical", "yes"],
        ["flags", "set", "new", "--share-percent", "12.5", "--tenants", "acme,umbrella"],
        ["budgets", "set", "month", "--scope", "tenant", "--cost-usd", "5.5", "--action", "block"],
        ["budgets", "set-stop", "agent:x", "--reason", "a runaway script"],
    ):
        done = ngx(tmp_path, *line)
        assert done.returncode == 0, done.stderr
    [_, tenants, accounts, flags, budgets, stops], _ = known(tmp_path)
    assert tenants == {"acme": Tenant(plan="gold", is_suspended=True)}
    assert accounts == {"acme\nana": Account(may_be_critical=True)}
    assert flags == {"new": Flag(share_percent=12.5, tenants=("acme", "umbrella"))}
    assert budgets == {"month": Budget(scope="tenant", cost_usd=5.5, action="block")}
    assert stops == {"agent:x": Stop(reason="a runaway script")}
    assert "acme/ana" in ngx(tmp_path, "tenants", "list-user").stdout


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (["plans", "set", "Gold"], "plan"),
        (["plans", "set", "gold", "--turns-per-minute", "-1"], "turns_per_minute"),
        (["budgets", "set", "month", "--tokens", "5"], "scope"),
        (["budgets", "set", "month", "--scope", "planet"], "planet"),
        (["budgets", "set-stop", "everything"], "stop"),
        (["flags", "set", "new", "--is-on", "maybe"], "is_on"),
    ],
)
def test_what_is_none_of_the_kind_is_refused_in_one_line(tmp_path, line, told):
    done = ngx(tmp_path, *line)
    assert done.returncode in (1, 2)
    assert done.stderr.count("\n") == 1
    assert told in done.stderr


def test_the_mode_is_set_shown_and_given_back_with_a_trace(tmp_path):
    assert "left to the signals" in ngx(tmp_path, "mode", "show").stdout
    assert ngx(tmp_path, "mode", "set", "read-only", "--reason", "moving", "--for-s", "60").returncode == 0
    assert ngx(tmp_path, "mode", "show").stdout.startswith(f"read-only: moving (by cli/{getpass.getuser()}, for ")
    assert ngx(tmp_path, "mode", "auto").returncode == 0
    assert "left to the signals" in ngx(tmp_path, "mode", "show").stdout
    _, audit = known(tmp_path)
    assert [(one.action, one.target) for one in audit] == [("mode.automatic", "mode"), ("mode.set", "mode")]
    assert audit[0].before["mode"] == "read-only"
    assert audit[1].after == {"mode": "read-only", "reason": "moving", "for_s": 60.0}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (["set", "degraded-9", "--reason", "x"], "degraded-9"),
        (["set", "read-only"], "reason"),
        (["set", "read-only", "--reason", ""], "reason"),
        (["set", "read-only", "--reason", "x" * 301], "reason"),
        (["set", "read-only", "--reason", "x", "--for-s", "0"], "for-s"),
        (["set", "read-only", "--reason", "x", "--for-s", "nan"], "for-s"),
        (["set", "read-only", "--reason", "x", "--for-s", "1e9"], "for-s"),
    ],
)
def test_a_mode_that_cannot_be_is_refused_in_one_line(tmp_path, line, told):
    done = ngx(tmp_path, "mode", *line)
    assert (done.returncode, told in done.stderr) == (2, True)
