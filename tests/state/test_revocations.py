"""Tokens taken back, as every instance knows them, and how they are forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest
from tests.memory_journal import opened
from tests.resilience.hand_clock import HandClock
from tests.state.watched_journal import WatchedJournal

from ngx_agents.errors import InvalidRequest
from ngx_agents.state.commands import ListControls, PutControl
from ngx_agents.state.control_board import ControlBoard
from ngx_agents.state.controls import MAX_NAME_CHARS, Revocation
from ngx_agents.state.model import Owner
from ngx_agents.state.revocations import Revocations, named_token, token_name, user_name
from ngx_agents.telemetry.metrics import Metrics

ANA, BEN = Owner("acme", "ana"), Owner("acme", "ben")


@pytest.mark.parametrize("jti", ["", "x" * (MAX_NAME_CHARS + 1), "a\nb", 7, None, ["x"]])
def test_an_id_that_no_token_can_be_named_by_is_refused(jti: object) -> None:
    assert token_name(jti) is None
    with pytest.raises(InvalidRequest):
        named_token(jti)  # type: ignore[arg-type]


def test_a_token_is_refused_by_its_id_or_by_when_its_user_got_it() -> None:
    revoked = Revocations(
        {"token:one": Revocation(until=9e9), user_name(ANA): Revocation(until=9e9, issued_before=100.0)}
    )
    assert revoked.are_about("token:one", user_name(BEN), 500.0)
    assert not revoked.are_about("token:two", user_name(BEN), 1.0)
    assert revoked.are_about(None, user_name(ANA), 99.0)
    assert revoked.are_about(None, user_name(ANA), None), "who cannot say when is taken for older"
    assert not revoked.are_about(None, user_name(ANA), 100.0)


def test_no_name_of_one_is_anothers() -> None:
    assert user_name(Owner("a", "b")) != user_name(Owner("ab", ""))
    assert token_name(user_name(ANA)) is None


@pytest.fixture
async def journal() -> AsyncIterator[WatchedJournal]:
    async with opened(WatchedJournal()) as made:
        yield made


async def test_they_are_followed_like_other_controls_without_disturbing_them_and_forgotten_in_time(
    journal: WatchedJournal,
) -> None:
    clock = HandClock()
    board = ControlBoard(journal, clock=clock, metrics=Metrics())
    changes: list[int] = []
    board.on_change(lambda: changes.append(1))
    now_s = clock.now_s()
    for name, until in ((user_name(ANA), now_s + 10), (user_name(BEN), now_s + 90)):
        body = msgspec.json.encode(Revocation(until=until, issued_before=now_s))
        await journal.transact([PutControl(kind="revocation", id=name, body=body, now=now_s)])
    await journal.transact([PutControl(kind="plan", id="x", body=b"{}", now=now_s)])
    await board.refresh()
    assert changes == [1]
    assert board.revocations.are_about(None, user_name(ANA), now_s - 1)
    body = msgspec.json.encode(Revocation(until=now_s + 20))
    await journal.transact([PutControl(kind="revocation", id="token:x", body=body, now=now_s)])
    await board.refresh()
    assert changes == [1], "plans and budgets are not worked out anew because somebody signs out"
    assert len(board.revocations) == 3
    clock.advance(15.0)
    await board.forget()
    assert (len(board.revocations), board.revocations.are_about(None, user_name(ANA), now_s - 1)) == (2, False)
    assert [one.id for one in await journal.query(ListControls())] == [user_name(BEN), "x", "token:x"]
    journal.is_away = True
    clock.advance(100.0)
    await board.forget()
    assert len(board.revocations) == 0
