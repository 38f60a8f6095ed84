"""Which roles an instance can have, and which combinations of settings are refused at the start, in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ngx_agents.app.config import load_config
from ngx_agents.app.roles import is_on_redis, require_known, runs_turns, serves_agents_alone, takes_turns
from ngx_agents.errors import ConfigError

POSTGRES = {"NGX_JOURNAL_URL": "postgresql://ngx@127.0.0.1:5432/ngx", "NGX_SECRET_KEY": "x" * 32}
REDIS = {"NGX_REDIS_URL": "redis://127.0.0.1:6379/0", "NGX_SECRET_KEY": "x" * 32}
BOTH = POSTGRES | REDIS
PARTLY = "orchestrator,progress_tracker"


def config(**environ: str):
    return load_config(environ=environ).config


@pytest.mark.parametrize(
    ("environ", "does"),
    [
        ({}, (True, True, False, False)),
        (BOTH | {"NGX_ROLE": "gateway"}, (True, False, False, False)),
        (POSTGRES | {"NGX_ROLE": "worker"}, (False, True, False, False)),
        (BOTH | {"NGX_ROLE": "worker", "NGX_AGENTS": PARTLY}, (False, True, False, True)),
        (BOTH | {"NGX_AGENTS": PARTLY}, (True, True, False, True)),
        (REDIS | {"NGX_ROLE": "worker", "NGX_AGENTS": "progress_tracker"}, (False, False, True, True)),
    ],
)
def test_what_an_instance_does(environ: dict[str, str], does: tuple[bool, ...]) -> None:
    found = config(**environ)
    assert (takes_turns(found), runs_turns(found), serves_agents_alone(found), is_on_redis(found)) == does


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"NGX_ROLE": "gateway"}, "role = gateway"),
        ({"NGX_ROLE": "worker"}, "role = worker"),
        ({"NGX_ROLE": "edge"}, "NGX_ROLE"),
        (BOTH | {"NGX_ROLE": "gateway", "NGX_AGENTS": "progress_tracker"}, "makes no sense with role = gateway"),
        (POSTGRES | {"NGX_ROLE": "worker", "NGX_AGENTS": "progress_tracker"}, "NGX_REDIS_URL"),
        (BOTH | {"NGX_AGENTS": "progress_tracker"}, "nobody would answer turns"),
        (BOTH | {"NGX_ROLE": "worker", "NGX_AGENTS": "progress_tracker", "NGX_WORKERS": "2"}, "workers = 1"),
        (POSTGRES | {"NGX_ROLE": "gateway", "NGX_JOURNAL_LOCAL_ACCEPTANCE": "true"}, "local_acceptance"),
        (POSTGRES | {"NGX_ROLE": "worker", "NGX_HOST": "0.0.0.0", "NGX_AUTH": "api_key"}, "NGX_ADVERTISE"),
    ],
)
def test_nonsense_is_refused(environ: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config(**environ)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_agent_that_does_not_exist_is_named_with_the_nearest() -> None:
    found = config(**REDIS, NGX_ROLE="worker", NGX_AGENTS="progres_tracker")
    with pytest.raises(ConfigError, match="did you mean progress_tracker"):
        require_known(found, ("orchestrator", "progress_tracker"))


def test_a_server_that_is_not_to_start_says_why_in_one_line(tmp_path: Path) -> None:
    ngx = Path(sys.executable).with_name("ngx")
    for flags in (("--role", "gateway"), ("--role", "worker", "--agents", "nutrition")):
        environ = {
            "NGX_DATA_DIR": str(tmp_path), "NGX_PORT": "0", "NGX_LOCAL_BUILTIN": "off",
            "NGX_SERVER_LOG_LEVEL": "error", **REDIS,
        }  # fmt: skip
        ended = subprocess.run(
            [str(ngx), "serve", *flags],
            env=environ,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert ended.returncode != 0
        assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr
        assert "Traceback" not in ended.stderr
