"""What every journal must do with what operators decide, and with the log of it. Imported like its siblings."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.state.journal_conformance import ANA, NOW, ids, tell

from ngx_agents.errors import InvalidRequest, NotFound, Overloaded
from ngx_agents.state import commands as c
from ngx_agents.state.governance import MAX_CONTROL_BYTES
from ngx_agents.state.journal import Journal


def put(name: str, body: bytes = b'{"on":true}', **changes: Any) -> c.PutControl:
    return c.PutControl(**({"kind": "flag", "id": name, "body": body, "now": NOW} | changes))


def entry(target: str = "flag/a", at: float = NOW, **changes: Any) -> c.AuditEntry:
    values: dict[str, Any] = {"id": ids.new("u", 0), "at": at, "actor": "acme/ops", "action": "flag.put"}
    return c.AuditEntry(**(values | {"target": target} | changes))


async def test_controls_are_followed_by_number_and_a_removed_one_is_told_too(journal: Journal) -> None:
    assert await tell(journal, put("a")) is None
    assert await tell(journal, put("b")) is None
    before = await tell(journal, put("a", b'{"on":false}', now=NOW + 1))
    assert (before.kind, before.id, before.body, before.changed_at) == ("flag", "a", b'{"on":true}', NOW)
    listed = await journal.query(c.ListControls())
    assert [(one.id, one.body) for one in listed] == [("b", b'{"on":true}'), ("a", b'{"on":false}')]
    assert (await tell(journal, put("b", b""))).body == b'{"on":true}'
    [gone] = await journal.query(c.ListControls(after=listed[-1].number))
    assert (gone.id, gone.body) == ("b", b"")
    assert await journal.query(c.ListControls(after=gone.number)) == ()
    assert [one.id for one in await journal.query(c.ListControls(limit=1))] == ["a"]
    assert await tell(journal, put("b")) is None


async def test_the_same_name_in_two_kinds_is_two_controls(journal: Journal) -> None:
    await tell(journal, put("a"))
    assert await tell(journal, put("a", kind="plan")) is None


async def test_a_control_that_is_too_large_is_refused_and_not_logged(journal: Journal) -> None:
    with pytest.raises(InvalidRequest):
        await tell(journal, c.Audited(command=put("a", b"x" * (MAX_CONTROL_BYTES + 1)), entry=entry()))
    assert await journal.query(c.ListControls()) == ()
    assert (await journal.query(c.ListAudit())).items == ()


async def test_an_audited_change_is_done_and_logged_with_what_was_there_before(journal: Journal) -> None:
    await tell(journal, c.Audited(command=put("a"), entry=entry(after={"on": True})))
    after = {"on": False}
    done = await tell(journal, c.Audited(command=put("a", b'{"on":false}'), entry=entry(at=NOW + 1, after=after)))
    assert done.body == b'{"on":true}'
    page = await journal.query(c.ListAudit())
    assert [(one.before, one.after) for one in page.items] == [({"on": True}, after), (None, {"on": True})]
    assert (page.items[0].actor, page.items[0].action, page.items[0].target) == ("acme/ops", "flag.put", "flag/a")


async def test_an_audited_command_that_is_refused_leaves_no_entry(journal: Journal) -> None:
    replay = c.ReplayTurn(turn_id=ids.new("t", 1), now=NOW, deadline_at=NOW)
    with pytest.raises(NotFound):
        await tell(journal, c.Audited(command=replay, entry=entry()))
    assert (await journal.query(c.ListAudit())).items == ()


async def test_a_key_is_stored_and_logged_together(journal: Journal) -> None:
    key = c.ApiKey(id=ids.new("k", 0), digest=b"\xfe" * 32, owner=ANA, roles=(), created_at=NOW)
    await tell(journal, c.Audited(command=c.PutKey(key=key), entry=entry(key.id)))
    assert await journal.query(c.FindKey(digest=key.digest)) == key
    assert [one.target for one in (await journal.query(c.ListAudit())).items] == [key.id]


async def test_the_audit_log_is_paged_newest_first_and_narrowed_to_a_target(journal: Journal) -> None:
    for number in range(5):
        await tell(journal, c.WriteAudit(entry=entry(f"t{number % 2}", NOW + number)))
    first = await journal.query(c.ListAudit(limit=3))
    assert [one.at - NOW for one in first.items] == [4, 3, 2]
    rest = await journal.query(c.ListAudit(limit=3, cursor=first.next))
    assert ([one.at - NOW for one in rest.items], rest.next) == ([1, 0], None)
    assert [one.at - NOW for one in (await journal.query(c.ListAudit(target="t1"))).items] == [3, 1]
    with pytest.raises(InvalidRequest):
        await journal.query(c.ListAudit(cursor="???"))


async def test_the_same_entry_told_twice_is_kept_once(journal: Journal) -> None:
    one = entry()
    await tell(journal, c.WriteAudit(entry=one))
    await tell(journal, c.WriteAudit(entry=one))
    assert (await journal.query(c.ListAudit())).items == (one,)


async def test_a_keys_use_is_kept_and_never_goes_back(journal: Journal) -> None:
    made = {"id": ids.new("k", 0), "digest": b"\x01" * 32, "owner": ANA, "roles": (), "created_at": NOW}
    key = c.ApiKey(**made, name="nightly", agents=("a", "b"), expires_at=NOW + 60)  # type: ignore[arg-type]
    await tell(journal, c.PutKey(key=key))
    for at in (NOW + 5, NOW + 3):
        await tell(journal, c.TouchKey(digest=key.digest, at=at))
    await tell(journal, c.TouchKey(digest=b"\x02" * 32, at=NOW))
    found = await journal.query(c.FindKey(digest=key.digest))
    assert found == msgspec.structs.replace(key, last_used_at=NOW + 5)
    assert await journal.query(c.ListKeys()) == (found,)


async def test_there_are_so_many_controls_and_removed_ones_make_room_after_a_day(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ngx_agents.state.governance.MAX_CONTROLS", 3)
    for name in ("a", "b", "c"):
        await tell(journal, put(name))
    await tell(journal, put("a", b"", now=NOW + 1))
    with pytest.raises(Overloaded):
        await tell(journal, put("d", now=NOW + 60))
    await tell(journal, put("b", b'{"on":false}', now=NOW + 60))
    await tell(journal, put("d", now=NOW + 86_402))
    listed = await journal.query(c.ListControls())
    assert [one.id for one in listed] == ["c", "b", "d"]
    assert [one.number for one in listed] == sorted({one.number for one in listed})


async def test_the_audit_log_lets_go_of_what_is_older_than_it_has_to_be(journal: Journal) -> None:
    for number in range(4):
        await tell(journal, c.WriteAudit(entry=entry(at=NOW + number)))
    assert await tell(journal, c.Expire(kind="audit", before=NOW + 3, now=NOW + 9, limit=2)) == 2
    assert await tell(journal, c.Expire(kind="audit", before=NOW + 3, now=NOW + 9, limit=2)) == 1
    assert [one.at for one in (await journal.query(c.ListAudit())).items] == [NOW + 3]


async def test_revocations_are_counted_apart_and_forgotten_when_their_time_is_over(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def revoke(name: str, until: float) -> c.PutControl:
        return put(name, msgspec.json.encode({"until": until}), kind="revocation")

    monkeypatch.setattr("ngx_agents.state.governance.MAX_REVOCATIONS", 2)
    await tell(journal, revoke("user:a\nana", NOW + 10))
    await tell(journal, revoke("token:1", NOW + 20))
    await tell(journal, revoke("token:1", NOW + 20))
    with pytest.raises(Overloaded):
        await tell(journal, revoke("token:2", NOW + 30))
    await tell(journal, put("a"))
    assert await tell(journal, c.ForgetRevocations(now=NOW + 9)) == 0
    assert await tell(journal, c.ForgetRevocations(now=NOW + 10)) == 1
    assert [one.id for one in await journal.query(c.ListControls())] == ["token:1", "a"]
    await tell(journal, revoke("token:2", NOW + 30))
    assert await tell(journal, c.ForgetRevocations(now=NOW + 99, limit=1)) == 1
    newest = (await journal.query(c.ListControls()))[-1].number
    await tell(journal, c.ForgetRevocations(now=NOW + 99))
    await tell(journal, put("b"))
    assert (await journal.query(c.ListControls()))[-1].number > newest, "no number is given twice"
