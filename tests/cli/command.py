"""Runs `ngx` as a user would: the installed command as a process, or, where a process adds nothing, its `run`."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

from ngx_agents.cli.main import run

NGX = Path(sys.executable).with_name("ngx")
Done = subprocess.CompletedProcess[str]


def clean_environ(**variables: str) -> dict[str, str]:
    """The process's environment without any setting of ours, plus `variables`."""
    ours = ("NGX_", "GOOGLE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | variables


def ngx(*args: str, cwd: Path, **variables: str) -> Done:
    """Runs `ngx` to its end as a process in `cwd`, with `variables` in its environment."""
    return subprocess.run(
        [NGX, *args], cwd=cwd, env=clean_environ(**variables), capture_output=True, text=True, timeout=60, check=False
    )


def ngx_here(*args: str, cwd: Path, **variables: str) -> Done:
    """The same without a process of its own, which costs a quarter of a second."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd),
        patch.dict(os.environ, clean_environ(**variables), clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            code = run(args)
        except SystemExit as exc:
            code = int(exc.code or 0)
    return Done([NGX, *args], code, out.getvalue(), err.getvalue())
