import asyncio
import json

from ngx_agents.errors import NotFound
from ngx_agents.state import commands as c
from ngx_agents.state.local_acceptance_aside import Aside
from ngx_agents.state.local_acceptance_entries import Entry, encoded
from ngx_agents.state.local_log import LocalLog
from ngx_agents.state.model import Owner
from tests.cli.command import ngx_here

MADE = c.CreateConversation(id="c_01" + "0" * 26, owner=Owner("acme", "ana"), title="t", now=1_800_000_000.0)


def ngx_journal(*args, cwd):
    return ngx_here("journal", *args, cwd=cwd, NGX_DATA_DIR="d")


def test_what_was_set_aside_is_listed_with_its_reason_and_forgotten_when_told_so(tmp_path):
    aside = Aside(tmp_path / "d" / "local.aside.jsonl", now=lambda: 1_800_000_000.0)
    asyncio.run(aside.keep(MADE, reason="no such\nconversation", code=NotFound.code))
    asyncio.run(aside.keep(MADE, reason="told again", code=NotFound.code))
    done = ngx_journal("aside", cwd=tmp_path)
    [_, line] = done.stdout.splitlines()
    assert "not_found: no such\\nconversation" in line
    assert "2027-01-15" in line
    [record] = [json.loads(line) for line in ngx_journal("aside", "--json", cwd=tmp_path).stdout.splitlines()]
    assert (record["user"], record["command"]["id"]) == ("ana", MADE.id)
    assert ngx_journal("discard", "other", cwd=tmp_path).returncode == 1
    assert ngx_journal("discard", record["id"], cwd=tmp_path).returncode == 0
    assert ngx_journal("aside", "--json", cwd=tmp_path).stdout == ""


def test_a_torn_line_hides_nothing_else(tmp_path):
    aside = Aside(tmp_path / "d" / "local.aside.jsonl", now=lambda: 0.0)
    asyncio.run(aside.keep(MADE, reason="one", code="x"))
    with (tmp_path / "d" / "local.aside.jsonl").open("ab") as file:
        file.write(b'{"id": "torn')
    asyncio.run(aside.keep_raw(b"\xff\x00", reason="two"))
    assert [record.reason for record in aside.records()] == ["one", "two"]


def test_what_is_on_this_disk_alone_is_counted_while_no_server_runs(tmp_path):
    assert ngx_journal("pending", cwd=tmp_path).stdout.split() == ["tenant", "user", "conversation", "commands"]
    log = LocalLog(tmp_path / "d" / "local.log")

    async def fill():
        await log.open()
        await log.append(encoded(Entry(origin="here", command=MADE)))
        await log.append(b"nobody's")
        while_open = await asyncio.to_thread(ngx_journal, "pending", cwd=tmp_path)
        await log.close()
        return while_open

    refused = asyncio.run(fill())
    assert refused.returncode == 1
    assert "another server" in refused.stderr
    done = ngx_journal("pending", cwd=tmp_path)
    assert done.stdout.splitlines()[1].split() == ["acme", "ana", MADE.id, "1"]
    assert "1 records cannot be read" in done.stderr
