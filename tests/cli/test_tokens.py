"""`ngx tokens`, beside the journal."""

from __future__ import annotations

import pytest

from tests.cli.command import ngx_here


def ngx(folder, *words):
    return ngx_here("tokens", *words, cwd=folder, NGX_DATA_DIR="d")


def test_tokens_are_taken_back_and_listed(tmp_path):
    made = ngx(tmp_path, "revoke", "--user", "ana", "--tenant", "acme", "--issued-before", "2026-01-02T03:04:05Z")
    assert (made.returncode, made.stdout) == (0, "user:acme/ana is revoked\n")
    assert ngx(tmp_path, "revoke", "--jti", "5f0c9d").stdout == "token:5f0c9d is revoked\n"
    head, token, user = ngx(tmp_path, "list").stdout.splitlines()
    assert head.split()[0] == "revoked"
    assert token.startswith("token:5f0c9d")
    assert user.startswith("user:acme/ana")
    assert "2026-01-02 03:04:05Z" in user


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--user", "ana", "--issued-before", "soon"], "soon"),
        (["--user", "a\tb"], "--user"),
        (["--jti", "x", "--issued-before", "2026-01-01"], "--issued-before"),
        (["--jti", "x", "--user", "ana"], "not allowed"),
        ([], "required"),
    ],
)
def test_a_revocation_that_names_nothing_clearly_is_refused(tmp_path, words, said):
    done = ngx(tmp_path, "revoke", *words)
    assert done.returncode == 2
    assert said in done.stderr
