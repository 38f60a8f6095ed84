"""The examples of the model client, run as their first lines say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.emulator_process import start_emulator

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    with start_emulator(chunks=40) as url:
        yield url


def _run(name: str, url: str, *args: str) -> str:
    environ = {**os.environ, "NGX_VERTEX_BASE_URL": url, "NGX_VERTEX_PROJECT": "demo"}
    command = [sys.executable, str(EXAMPLES / name), *args]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode == -signal.SIGABRT and "PyGILState_Release" in done.stderr:
        return done.stdout  # pyreqwest's thread let go of a cancelled call while the interpreter ended: all is said
    assert done.returncode == 0, done.stderr
    return done.stdout


def _script(url: str, *faults: dict[str, object]) -> None:
    request = urllib.request.Request(f"{url}/_control", json.dumps(faults).encode(), method="POST")
    urllib.request.urlopen(request).close()


def test_an_answer_is_asked_for_and_then_kept(emulator: str) -> None:
    _script(emulator)
    said = _run("model_ask.py", emulator)
    assert "-- model, rung shared" in said
    assert "-- cache, rung cache" in said


def test_a_broken_stream_is_withdrawn_and_told_anew(emulator: str) -> None:
    _script(emulator, {"kind": "cut", "at_chunk": 20})
    said = _run("model_stream.py", emulator)
    assert "withdrawn, beginning anew" in said
    assert "in 2 calls" in said


def test_another_model_in_europe_answers_when_the_first_fails(emulator: str) -> None:
    _script(emulator, {"kind": "status", "status": 503, "model": "gemini-3.5-flash", "times": None})
    said = _run("model_fallback.py", emulator, emulator)
    assert "rung sibling" in said
    assert "(eu, degraded: True)" in said
    assert "2 vectors" in said
