"""Finds Chromium and starts it without a sandbox, a GPU, or any business of its own on the network."""

from __future__ import annotations

import os
import shutil

import pytest

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def executable() -> str:
    """Its path. Without it the test is skipped, or in CI failed."""
    path = shutil.which("chromium")
    if path is not None:
        return path
    reason = "chromium is not on the PATH"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
