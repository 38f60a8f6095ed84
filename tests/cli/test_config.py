import json

from tests.cli.command import ngx_here

SECRET = "a-secret-of-more-than-thirty-two-bytes"


LISTED = {"NGX_SECRET_KEY": f"{SECRET},{SECRET}2", "NGX_JOURNAL_REPLICA_URLS": f"postgresql://a:{SECRET}@h/db"}


def test_the_table_shows_value_and_origin_of_every_source(tmp_path):
    (tmp_path / "ngx.toml").write_text("[turns]\nmax_running = 12\n")
    done = ngx_here("config", "--port", "81", cwd=tmp_path, NGX_MODEL="m")
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert rows["turns.max_running"] == ["12", "ngx.toml:2"]
    assert rows["server.port"] == ["81", "flag", "--port"]
    assert rows["vertex.model"] == ["m", "env", "NGX_MODEL"]
    assert rows["server.host"] == ["127.0.0.1", "default"]
    assert done.returncode == 0


def test_secrets_are_masked_in_table_and_json(tmp_path):
    for format_flag in ([], ["--json"]):
        done = ngx_here("config", *format_flag, cwd=tmp_path, NGX_JWT_SECRET=SECRET, NGX_API_KEY=SECRET, **LISTED)
        assert SECRET not in done.stdout + done.stderr
        assert "env NGX_JWT_SECRET" in done.stdout


def test_json_has_value_and_origin(tmp_path):
    shown = json.loads(ngx_here("config", "--json", cwd=tmp_path, NGX_PORT="82").stdout)
    assert shown["server.port"] == {"value": 82, "origin": "env NGX_PORT"}
    assert shown["vertex.project"] == {"value": None, "origin": "default"}


def test_check_passes_sound_settings(tmp_path):
    done = ngx_here("config", "--check", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_check_reports_every_trouble_and_fails(tmp_path):
    done = ngx_here("config", "--check", cwd=tmp_path, NGX_HOST="0.0.0.0", NGX_JOURNAL_URL="postgresql://h/db")
    assert done.returncode == 2
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["ngx", "ngx"]
    assert "refusing to listen on 0.0.0.0" in done.stderr
    assert "needs [server] secret_key" in done.stderr


def test_without_check_trouble_is_told_beside_the_table(tmp_path):
    done = ngx_here("config", "--host", "0.0.0.0", cwd=tmp_path)
    assert done.returncode == 0
    assert "server.host" in done.stdout
    assert "refusing to listen" in done.stderr
