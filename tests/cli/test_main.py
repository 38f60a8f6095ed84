import subprocess

import pytest

from ngx_agents import __version__
from ngx_agents.cli.main import COMMANDS
from tests.cli.command import NGX, clean_environ, ngx, ngx_here


def test_version_is_the_packages(tmp_path):
    assert ngx("--version", cwd=tmp_path).stdout == f"ngx {__version__}\n"


def test_help_lists_every_command(tmp_path):
    told = ngx_here("--help", cwd=tmp_path).stdout
    assert [name for name in COMMANDS if f"    {name} " not in told] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_examples(tmp_path, command):
    done = ngx_here(command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert f"examples:\n  ngx {command}" in done.stdout


def test_an_unknown_command_is_a_usage_error(tmp_path):
    done = ngx_here("sevre", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "invalid choice: 'sevre'" in done.stderr


def test_a_configuration_error_is_one_line_and_exit_2(tmp_path):
    done = ngx("serve", cwd=tmp_path, NGX_PROT="1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "ngx: unknown variable NGX_PROT: did you mean NGX_PORT?\n"


def test_other_errors_are_one_line_and_exit_1(tmp_path):
    done = ngx_here("keys", "revoke", "k_none", "--data-dir", str(tmp_path), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "ngx: there is no key k_none: `ngx keys list` prints them\n"


def test_a_terminal_that_lacks_a_letter_gets_the_rest(tmp_path):
    done = ngx("config", cwd=tmp_path, PYTHONIOENCODING="ascii", NGX_JWT_SECRET="x" * 32)
    assert (done.returncode, done.stderr) == (0, "")
    assert "auth.jwt_secret" in done.stdout


def test_a_reader_that_leaves_early_causes_no_traceback(tmp_path):
    writer = subprocess.Popen(
        [NGX, "config", "--markdown"], cwd=tmp_path, env=clean_environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert writer.stdout is not None
    writer.stdout.close()
    _, errors = writer.communicate(timeout=30)
    assert errors == b""
