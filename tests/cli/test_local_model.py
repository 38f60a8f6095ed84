import json
import signal
import socket
import subprocess
import urllib.request

import pytest

from ngx_agents.vertex.local_model import is_installed
from tests.cli.command import NGX, clean_environ, ngx

needs_local = pytest.mark.skipif(not is_installed(), reason="the extra local is not installed")


@needs_local
def test_it_says_where_it_listens_and_ends_quietly_on_ctrl_c():
    command = [NGX, "local-model", "--port", "0"]
    with subprocess.Popen(
        command, env=clean_environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            url = process.stdout.readline().strip()
            with urllib.request.urlopen(f"{url}/models", timeout=10) as answer:
                assert json.load(answer)["data"][0]["id"] == "smollm2-135m-instruct"
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130
            assert process.stderr.read() == ""
        finally:
            process.kill()


@needs_local
def test_a_port_in_use_is_one_line_that_says_what_to_do(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = ngx("local-model", "--port", str(taken.getsockname()[1]), cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "is in use" in done.stderr


def test_other_addresses_than_loopback_are_refused_in_one_line(tmp_path):
    done = ngx("local-model", "--host", "0.0.0.0", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert ("loopback" if is_installed() else "uv sync --extra local") in done.stderr
