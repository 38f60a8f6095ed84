from pathlib import Path

import pytest

from ngx_agents.app.config import Config, all_settings, load_config, read_config
from ngx_agents.errors import ConfigError

SECRET = "s3cr3t-" + "x" * 32


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "ngx.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_any_source_everything_is_the_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = load_config(environ={})
    assert loaded.config == Config()
    assert set(loaded.origins.values()) == {"default"}


@pytest.mark.parametrize(
    ("in_file", "in_environ", "in_flags", "port", "origin"),
    [
        (None, None, None, 8000, "default"),
        (1, None, None, 1, "{file}:2"),
        (None, "2", None, 2, "env NGX_PORT"),
        (None, None, 3, 3, "flag --port"),
        (1, "2", None, 2, "env NGX_PORT"),
        (1, None, 3, 3, "flag --port"),
        (None, "2", "3", 3, "flag --port"),
        (1, "2", 3, 3, "flag --port"),
        (1, "", None, 1, "{file}:2"),
    ],
)
def test_the_later_source_wins_and_is_named(tmp_path, in_file, in_environ, in_flags, port, origin):
    path = write(tmp_path, f"[server]\nport = {in_file}\n" if in_file else "")
    environ = {} if in_environ is None else {"NGX_PORT": in_environ}
    loaded = load_config(path=path, environ=environ, flags={"server.port": in_flags})
    assert loaded.config.server.port == port
    assert loaded.origins["server.port"] == origin.format(file=path)


def test_ngx_toml_of_the_working_directory_is_read(tmp_path, monkeypatch):
    write(tmp_path, "[server]\nport = 9\n")
    monkeypatch.chdir(tmp_path)
    loaded = load_config(environ={})
    assert (loaded.config.server.port, loaded.origins["server.port"]) == (9, "ngx.toml:2")


def test_our_variable_is_stronger_than_googles():
    environ = {"GOOGLE_CLOUD_PROJECT": "theirs", "GOOGLE_CLOUD_LOCATION": "europe-west1"}
    loaded = read_config(environ=environ | {"NGX_VERTEX_PROJECT": "ours"})
    assert (loaded.config.vertex.project, loaded.config.vertex.location) == ("ours", "europe-west1")
    assert loaded.origins["vertex.location"] == "env GOOGLE_CLOUD_LOCATION"


@pytest.mark.parametrize("name", sorted({name for one in all_settings() for name in one.env}))
def test_every_variable_sets_its_setting(name):
    [one] = [one for one in all_settings() if name in one.env]
    raw = {
        "connection_pool_size": "20",
        "drain_delay_s": "5",
        "jwt_leeway_s": "5",
        "jwt_max_life_s": "3600",
        "token_memory_s": "5",
        "max_header_bytes": "8192",
        "max_connections_per_address": "99",
        "max_streams_per_user": "9",
        "max_webhooks": "9",
        "header_timeout_s": "5",
        "stalled_timeout_s": "5",
        "workers": "4",
        "http2": "off",
        "transport": "aiohttp",
        "log_level": "debug",
        "mode": "jwt",
        "residency": "eu",
        "traffic": "provisioned, shared",
        "cache_enabled": "false",
        "max_retries": "3",
        "retry_delay_s": "0.5",
        "builtin": "off",
        "trace_share": "0.1",
        "places_share": "0.5",
        "house": "false",
        "max_open": "20",
        "capacity": "100",
        "token_target_s": "0.02",
        "first_token_target_s": "2",
        "tenant_share": "0.5",
        "local_acceptance": "true",
        "path_style": "false",
        "shared_copies": "false",
        "health_consent": "true",
        "https_only": "true",
        "enabled": "false",
        "v0_3": "false",
        "wait_s": "7",
        "test_agent": "true",
        "timeout_s": "7",
        "attempts": "3",
        "role": "gateway",
        "consults": "true",
        "unwatched_s": "7",
    }.get(one.field, "2048")
    loaded = read_config(environ={name: raw})
    value = getattr(getattr(loaded.config, one.section), one.field)
    assert value != one.default
    assert loaded.origins[one.name] == f"env {name}"


def test_a_list_is_separated_by_commas_in_the_environment():
    loaded = read_config(environ={"NGX_VERTEX_FALLBACK_LOCATIONS": "eu, europe-west1,"})
    assert loaded.config.vertex.fallback_locations == ("eu", "europe-west1")
    with pytest.raises(ConfigError, match="a list, each"):
        read_config(environ={"NGX_VERTEX_TRAFFIC": "shared,free"})


def test_the_names_that_scripts_rely_on_are_known():
    relied_on = [
        "NGX_HOST",
        "NGX_PORT",
        "NGX_DATA_DIR",
        "NGX_JOURNAL_URL",
        "NGX_AUTH",
        "NGX_JWT_SECRET",
        "NGX_JWKS_URL",
        "NGX_VERTEX_PROJECT",
        "NGX_VERTEX_LOCATION",
        "NGX_VERTEX_BASE_URL",
        "NGX_VERTEX_API_KEY",
        "NGX_MODEL",
        "NGX_LOCAL_MODEL_URL",
    ]
    assert set(relied_on) <= {name for one in all_settings() for name in one.env}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[server]\nprot = 1", "unknown setting [server] prot ({file}:2): did you mean port?"),
        ("[vertex]\nport = 1", "unknown setting [vertex] port ({file}:2): did you mean [server] port?"),
        ("port = 1", "unknown setting port ({file}): did you mean [server] port?"),
        ("[sever]\nport = 1", "unknown section sever ({file}): did you mean server?"),
        ("server = 1", "server ({file}): expected a section, [server]"),
        ("[redis]\nzzz = 1", "unknown setting [redis] zzz ({file}:2); known are url"),
    ],
)
def test_an_unknown_name_in_the_file_is_an_error_with_the_nearest(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path=path, environ={})
    assert str(caught.value) == message.format(file=path)


def test_an_unknown_variable_is_an_error_with_the_nearest():
    with pytest.raises(ConfigError, match="unknown variable NGX_PROT: did you mean NGX_PORT"):
        load_config(environ={"NGX_PROT": "1", "PATH": "/bin"})


def test_an_unknown_flag_is_an_error():
    with pytest.raises(ConfigError, match=r"unknown setting server\.prot: did you mean server\.port"):
        load_config(environ={}, flags={"server.prot": 1})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '[server]\nport = "80"',
            "[server] port ({file}:2): expected a whole number from 0 to 65535, without quotes, got '80'",
        ),
        ('[server]\nport = "a"', "[server] port ({file}:2): expected a whole number from 0 to 65535, got 'a'"),
        ("[server]\nport = 65536", "[server] port ({file}:2): expected a whole number from 0 to 65535, got 65536"),
        ("[server]\ndrain_s = true", "[server] drain_s ({file}:2): expected a number from 0 to 3600, got True"),
        ('[auth]\nmode = "off"', "[auth] mode ({file}:2): expected api_key, jwt or none, got 'off'"),
    ],
)
def test_a_wrong_type_names_setting_source_and_expectation(tmp_path, line, message):
    path = write(tmp_path, line)
    with pytest.raises(ConfigError) as caught:
        load_config(path=path, environ={})
    assert str(caught.value) == message.format(file=path)


def test_a_wrong_variable_names_itself():
    with pytest.raises(ConfigError, match=r"\[server\] port \(env NGX_PORT\): expected a whole number .*'tcp://x'"):
        load_config(environ={"NGX_PORT": "tcp://x"})


def test_a_wrong_secret_is_not_repeated_in_the_message(tmp_path):
    path = write(tmp_path, "[auth]\njwt_secret = 123456789")
    with pytest.raises(ConfigError) as caught:
        load_config(path=path, environ={})
    assert "123456789" not in str(caught.value)


def test_secrets_are_masked_wherever_a_configuration_is_printed():
    environ = {name: SECRET for one in all_settings() if one.secret for name in one.env}
    loaded = read_config(environ=environ | {"NGX_VERTEX_BASE_URL": f"http://user:{SECRET}@127.0.0.1"})
    assert loaded.config.auth.jwt_secret == SECRET
    assert SECRET not in str(loaded.shown())
    assert SECRET not in repr(Config(auth=loaded.config.auth, client=loaded.config.client))
    assert ("auth.jwt_secret", "••••••", "env NGX_JWT_SECRET") in loaded.shown()


@pytest.mark.parametrize("text", ["[server", "\xff"])
def test_an_unreadable_file_is_one_clear_error(tmp_path, text):
    path = tmp_path / "ngx.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"ngx\.toml"):
        load_config(path=path, environ={})


def test_a_named_file_must_exist(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*: No such file"):
        load_config(path=tmp_path / "absent.toml", environ={})


def test_dotted_keys_have_their_line_too(tmp_path):
    path = write(tmp_path, "# first\nserver.port = 7\n")
    assert load_config(path=path, environ={}).origins["server.port"] == f"{path}:2"


def test_the_journal_lives_in_the_data_directory_unless_told_otherwise(tmp_path):
    default = load_config(environ={"NGX_DATA_DIR": str(tmp_path)}).config
    told = load_config(environ={"NGX_DATA_DIR": str(tmp_path), "NGX_JOURNAL_URL": "sqlite:////srv/j.db"}).config
    assert default.journal_path == tmp_path / "journal.db"
    assert told.journal_path == Path("/srv/j.db")
