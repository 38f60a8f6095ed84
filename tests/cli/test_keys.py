import asyncio

import pytest

from ngx_agents.gateway.api_keys import key_digest
from ngx_agents.state.commands import FindKey
from ngx_agents.state.model import Owner
from ngx_agents.state.sqlite import SqliteJournal
from tests.cli.command import ngx_here


def find(path, secret):
    return asyncio.run(_find(path, secret))


async def _find(path, secret):
    journal = SqliteJournal(path, exclusive=False)
    await journal.open()
    try:
        return await journal.query(FindKey(digest=key_digest(secret)))
    finally:
        await journal.close()


def test_a_created_key_is_found_by_its_secret(tmp_path):
    done = ngx_here(
        "keys", "create", "--user", "ana", "--tenant", "acme", "--role", "operator", cwd=tmp_path, NGX_DATA_DIR="d"
    )
    secret = done.stdout.strip()
    key = find(tmp_path / "d" / "journal.db", secret)
    assert (key.owner, key.roles, key.revoked_at) == (Owner("acme", "ana"), ("operator",), None)
    assert done.stderr.startswith(key.id)


def test_a_revoked_key_is_marked(tmp_path):
    made = ngx_here("keys", "create", "--user", "ana", cwd=tmp_path, NGX_DATA_DIR="d")
    key_id = made.stderr.partition(":")[0]
    assert ngx_here("keys", "revoke", key_id, cwd=tmp_path, NGX_DATA_DIR="d").returncode == 0
    key = find(tmp_path / "d" / "journal.db", made.stdout.strip())
    assert key.revoked_at > key.created_at


def test_the_list_shows_keys_without_secrets(tmp_path):
    made = ngx_here("keys", "create", "--user", "ana", "--tenant", "acme", cwd=tmp_path, NGX_DATA_DIR="d")
    listed = ngx_here("keys", "list", cwd=tmp_path, NGX_DATA_DIR="d").stdout
    assert made.stderr.partition(":")[0] in listed
    assert "acme" in listed
    assert made.stdout.strip() not in listed


def test_an_unreachable_journal_is_told_in_one_line(tmp_path):
    done = ngx_here("keys", "list", cwd=tmp_path, NGX_JOURNAL_URL="postgresql://u:secret@127.0.0.1:1/db")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr


def test_a_journal_of_an_unknown_kind_is_refused(tmp_path):
    done = ngx_here("keys", "list", cwd=tmp_path, NGX_JOURNAL_URL="mysql://h/db")
    assert done.returncode == 2
    assert "expected sqlite:///<path> or postgresql://" in done.stderr


def test_a_rotated_key_holds_on_beside_the_new_one_and_a_named_one_says_what_it_is_for(tmp_path):
    words = ["--user", "ana", "--name", "nightly", "--agent", "progress_tracker", "--expires-days", "30"]
    made = ngx_here("keys", "create", *words, cwd=tmp_path, NGX_DATA_DIR="d")
    key_id = made.stderr.partition(":")[0]
    new = ngx_here("keys", "rotate", key_id, "--overlap-hours", "1", cwd=tmp_path, NGX_DATA_DIR="d")
    assert new.returncode == 0, new.stderr
    path = tmp_path / "d" / "journal.db"
    former, fresh = find(path, made.stdout.strip()), find(path, new.stdout.strip())
    assert (fresh.name, fresh.agents, fresh.owner) == ("nightly", ("progress_tracker",), former.owner)
    assert former.expires_at - fresh.created_at == 3600
    listed = ngx_here("keys", "list", cwd=tmp_path, NGX_DATA_DIR="d").stdout
    assert listed.count("nightly") == 2
    assert ngx_here("keys", "rotate", "k_nothing", cwd=tmp_path, NGX_DATA_DIR="d").returncode == 1
    assert ngx_here("keys", "create", "--user", "a\tb", cwd=tmp_path, NGX_DATA_DIR="d").returncode == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--expires-days", "-1"], "--expires-days"),
        (["--expires-days", "0"], "--expires-days"),
        (["--expires-days", "nan"], "--expires-days"),
        (["--agent", "progress_tracker", "--agent", "nobody"], "nobody"),
    ],
)
def test_a_key_that_could_never_be_used_is_refused(tmp_path, words, said):
    done = ngx_here("keys", "create", "--user", "ana", *words, cwd=tmp_path, NGX_DATA_DIR="d")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(ngx_here("keys", "list", cwd=tmp_path, NGX_DATA_DIR="d").stdout.splitlines()) == 1
