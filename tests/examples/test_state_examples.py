"""The examples of the state manager, run as their first lines say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def _run(name: str, *args: str) -> list[str]:
    command = [sys.executable, str(EXAMPLES / name), *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_conversation_goes_on_where_the_last_run_ended(tmp_path: Path) -> None:
    assert _run("state_conversation.py", str(tmp_path / "coach.db"))[0] == "week 1"
    said = _run("state_conversation.py", str(tmp_path / "coach.db"))
    assert said[0] == "week 2"
    assert [line.split(":", 1)[1].strip() for line in said[1:]] == [
        "How was week 1?", "Week 1 is done.", "How was week 2?", "Week 2 is done.",
    ]  # fmt: skip


def test_no_writer_loses_what_another_wrote() -> None:
    said = _run("state_together.py")
    assert said[0] == str([f"workout {number}" for number in range(5)])
    assert said[1].endswith("for 5 writes")


def test_everything_is_exported_and_nothing_is_left() -> None:
    said = _run("state_privacy.py")
    assert said[0].startswith("stored 23 bytes")
    assert '"consents": 1' in said[1]
    assert said[2].startswith("e_… erased")
    assert said[3] == "left: 0"
