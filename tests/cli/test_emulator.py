import json
import signal
import socket
import subprocess
import urllib.request
from contextlib import contextmanager

from tests.cli.command import NGX, clean_environ, ngx

ASK = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
PATH = "/v1/projects/p/locations/global/publishers/google/models/gemini-3.8-flash:generateContent"


@contextmanager
def emulator(*args):
    command = [NGX, "emulator", "--port", "0", *args]
    with subprocess.Popen(
        command, env=clean_environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def ask(url):
    request = urllib.request.Request(url + PATH, json.dumps(ASK).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.loads(response.read())["candidates"][0]["content"]["parts"]


def test_it_says_where_it_listens_answers_there_and_ends_quietly_on_ctrl_c():
    with emulator("--seed", "7") as (process, url):
        assert ask(url)[0]["text"]
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr.read() == ""


def test_a_port_in_use_is_one_line_that_says_what_to_do(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = ngx("emulator", "--port", str(port), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    expected = f"ngx: port {port} on 127.0.0.1 is in use: stop what listens there, or choose another with --port\n"
    assert done.stderr == expected


def test_an_address_of_another_machine_is_a_configuration_error(tmp_path):
    done = ngx("emulator", "--host", "192.0.2.1", "--port", "0", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "192.0.2.1 is not an address of this machine" in done.stderr
