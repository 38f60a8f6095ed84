import pytest

from ngx_agents.app.config import load_config
from ngx_agents.app.config_checks import is_loopback
from ngx_agents.errors import ConfigError

LONG = "x" * 32


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", ""])
def test_other_hosts_than_loopback_are_refused_without_authentication(host):
    with pytest.raises(ConfigError, match="refusing to listen on"):
        load_config(environ={}, flags={"server.host": host})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_authentication(host):
    assert load_config(environ={"NGX_HOST": host}).config.server.host == host
    assert is_loopback(host)


@pytest.mark.parametrize(
    "auth",
    [
        {"NGX_AUTH": "api_key"},
        {"NGX_AUTH": "jwt", "NGX_JWT_SECRET": LONG},
        {"NGX_AUTH": "jwt", "NGX_JWKS_URL": "https://id/keys"},
    ],
)
def test_any_host_is_fine_with_authentication(auth):
    assert load_config(environ={"NGX_HOST": "0.0.0.0", **auth}).config.server.host == "0.0.0.0"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"NGX_AUTH": "jwt"}, "jwt needs jwt_secret"),
        ({"NGX_AUTH": "jwt", "NGX_JWT_SECRET": "x" * 31}, "needs 32 bytes or more"),
        ({"NGX_JOURNAL_URL": "postgresql://u:pw@h/db"}, "Postgres needs .server. secret_key"),
        (
            {"NGX_JOURNAL_URL": "mysql://u:pw@h/db"},
            "expected sqlite:///<path> or postgresql://…, got 'mysql://u:••••••@h/db'",
        ),
        ({"NGX_JOURNAL_URL": "sqlite:///"}, "expected sqlite:///<path>"),
        ({"NGX_SERVER_TLS_CERT": "/none.pem"}, "belong together"),
        ({"NGX_VERTEX_RESIDENCY": "eu", "NGX_VERTEX_LOCATION": "us-central1"}, "outside of residency eu"),
        (
            {"NGX_VERTEX_RESIDENCY": "eu", "NGX_VERTEX_LOCATION": "eu", "NGX_VERTEX_FALLBACK_LOCATIONS": "us"},
            "us is out",
        ),
        ({"NGX_A2A_CARD_KEY_FILE": "/key.pem"}, "needs .a2a. public_url"),
        ({"NGX_A2A_PUBLIC_URL": "agents.example"}, "expected an http:// or https:// address"),
        ({"NGX_SERVER_TLS_CERT": "/none.pem", "NGX_SERVER_TLS_KEY": "/none.pem"}, "there is no file /none.pem"),
        ({"NGX_EDGE_TRUSTED_PROXIES": "proxy.local"}, "expected an address or a network such as 10.0.0.0/8"),
        ({"NGX_EDGE_TRUSTED_PROXIES": "10.0.0.1/8"}, "expected an address or a network such as 10.0.0.0/8"),
        ({"NGX_EDGE_CORS_ORIGINS": "https://app.example/"}, "expected scheme://host without a path"),
        ({"NGX_EDGE_CORS_ORIGINS": "*"}, "needs authentication"),
        ({"NGX_JOURNAL_URL": "postgresql://h/d", "NGX_JOURNAL_SHARDS": "s.json"}, "shards stands alone"),
        ({"NGX_JOURNAL_LOCAL_ACCEPTANCE": "true", "NGX_JOURNAL_SHARDS": "s.json"}, "shards stands alone"),
        ({"NGX_JOURNAL_REPLICA_URLS": "postgresql://h/d"}, "replica_urls needs url on Postgres"),
        (
            {"NGX_JOURNAL_URL": "postgresql://h/d", "NGX_JOURNAL_REPLICA_URLS": "mysql://u:pw@h/d"},
            "expected postgresql://… for each",
        ),
        ({"NGX_VERTEX_BASE_URL": "localhost:8089"}, r"\[vertex\] base_url: expected an http:// or https:// address"),
        ({"NGX_ADVERTISE": "10.0.0.5:8000"}, r"\[server\] advertise: expected an http:// or https:// address"),
        ({"NGX_LOCAL_MODEL_URL": "ollama"}, r"\[local\] model_url"),
        ({"NGX_BLOBS_URL": "https://s3.test"}, "needs bucket, access_key and secret_key"),
        ({"NGX_BLOBS_URL": "s3://u:pw@x"}, r"\[blobs\] url: expected an http:// or https:// address, got 's3://u:•"),
        ({"NGX_RETENTION_MESSAGES_DAYS": "0.5"}, "messages_days: 0, or at least 1"),
        ({"NGX_JWKS_URL": "ftp://x"}, r"\[auth\] jwks_url"),
        ({"NGX_ADMISSION_CAPACITY": "300"}, r"\[admission\] capacity 300 is more than \[turns\] max_running 256"),
    ],
)
def test_settings_that_do_not_fit_are_refused(environ, message):
    with pytest.raises(ConfigError, match=message):
        load_config(environ=environ)
