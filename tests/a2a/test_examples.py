"""The examples, run as their first lines say."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.valkey_process import valkey

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, *args: str) -> str:
    command = [sys.executable, str(EXAMPLES / name), *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_agents_of_one_process_are_asked_streamed_and_refuse():
    said = run("a2a_ask.py")
    assert "lentils: 18 g of protein a cup" in said
    assert "Wednesday: a run" in said
    assert "refused (waited)" in said


def test_a_team_shares_deadline_class_and_budget():
    said = run("a2a_team.py")
    assert "nutrition: class 0, depth 2, 30 s left" in said
    assert "coach: no tokens are left for this" in said
    assert "the turn spent 800 tokens in 3 calls" in said
    assert "a loop ends" in said


def test_two_processes_answer_one_that_asks():
    with valkey() as server:
        url = f"redis://127.0.0.1:{server.port}"
        command = [sys.executable, str(EXAMPLES / "a2a_processes.py"), "serve", url]
        serving = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert serving.stdout is not None
            assert "serves" in serving.stdout.readline()
            said = run("a2a_processes.py", "ask", url)
            assert f"'process': {serving.pid}" in said
            serving.send_signal(signal.SIGINT)
            assert serving.wait(timeout=10) == 0
        finally:
            serving.kill()
            serving.wait(timeout=10)
            serving.stdout.close()
