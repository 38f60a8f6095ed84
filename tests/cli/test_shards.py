import asyncio
import json

import pytest

from ngx_agents.clock import SystemClock
from ngx_agents.state.postgres import PostgresJournal
from tests.cli.command import ngx_here
from tests.postgres_process import *  # noqa: F403


@pytest.fixture
def file(postgres_server, tmp_path):
    """Two databases of one server do for the command; `tests/state/test_shard_move.py` has two servers."""

    async def make():
        urls = {}
        for name in ("a", "b"):
            urls[name] = postgres_server.url(await postgres_server.create_database())
            journal = PostgresJournal(urls[name], clock=SystemClock())
            await journal.open()
            await journal.migrate()
            await journal.close()
        return urls

    urls = asyncio.run(make())
    path = tmp_path / "shards.json"
    path.write_text(json.dumps({"servers": urls, "places": {"0-127": "a", "128-255": "b"}}))
    yield path
    for url in urls.values():
        asyncio.run(postgres_server.drop_database(url.rsplit("/", 1)[1]))


def shown(tmp_path):
    return [line.split() for line in ngx_here("shards", "show", cwd=tmp_path).stdout.splitlines()[1:]]


def test_a_shard_is_shown_moved_and_shown_elsewhere(file, tmp_path):
    assert shown(tmp_path) == [["0-127", "a", "0", "serving"], ["128-255", "b", "0", "serving"]]
    done = ngx_here("shards", "move", "7", "b", "--lease-s", "0.1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("shard 7 is at b: 0 rows")
    assert done.stderr.splitlines()[-1] == "cleaned"
    assert ["7", "b", "1", "serving"] in shown(tmp_path)
    assert ngx_here("shards", "move", "7", "--back", cwd=tmp_path).stdout == "shard 7 is at b\n"


@pytest.mark.parametrize("args", [("7",), ("7", "b", "--back"), ("300", "b"), ("7", "nowhere")])
def test_what_makes_no_sense_is_one_line(file, tmp_path, args):
    done = ngx_here("shards", "move", *args, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_without_a_file_the_command_says_so(tmp_path):
    done = ngx_here("shards", "show", cwd=tmp_path)
    assert (done.returncode, "cannot be read" in done.stderr) == (2, True)
