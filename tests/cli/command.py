"""Runs the installed `ngx` as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

NGX = Path(sys.executable).with_name("ngx")


def clean_environ(**variables: str) -> dict[str, str]:
    """The process's environment without any setting of ours, plus `variables`."""
    ours = ("NGX_", "GOOGLE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | variables


def ngx(*args: str, cwd: Path, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs `ngx` to its end in `cwd`, with `variables` in its environment."""
    return subprocess.run(
        [NGX, *args],
        cwd=cwd,
        env=clean_environ(**variables),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
