"""Local acceptance on a real disk that fills up: a small file system of its own, mounted for the test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.state.journal_conformance import ANA, conversation
from tests.state.test_failover import House, one_turn

from ngx_agents.errors import JournalUnavailable
from ngx_agents.state import commands as c

DISK = "256k"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine lets no file system be mounted")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


async def fill(house: House, lane: str) -> tuple[list[str], JournalUnavailable]:
    """Turns until the disk has no room: what was acknowledged, and the refusal."""
    told: list[str] = []
    for number in range(100):
        text = f"{number} " + "x" * 8000
        try:
            await one_turn(house.journal, lane, text)
        except JournalUnavailable as error:
            return told, error
        told += [text, f"re: {text}"]
    raise AssertionError("the disk never filled up")


async def test_a_disk_that_fills_up_refuses_new_turns_and_loses_none_that_was_taken(tmp_path: Path, disk: Path) -> None:
    async with House(tmp_path, log_folder=disk) as house:
        await house.journal.query(c.GetProfile(owner=ANA))
        await house.fall()
        lane = await conversation(house.journal)
        told, refused = await fill(house, lane)
        assert len(told) >= 10
        assert "local log" in str(refused)
        assert (house.journal.mode, "local log" in house.journal.reason) == ("read-only", True)
        page = await house.journal.query(c.ListMessages(conversation_id=lane, owner=ANA, limit=1000))
        assert [message.text for message in page.items][: len(told)] == told
    again = House(tmp_path, log_folder=disk)
    again.is_away = True
    async with again as house:
        assert house.journal.mode in ("local", "read-only")
        await house.heal()
        stored = await house.texts(lane)
        assert stored[: len(told)] == told
        assert len(stored) <= len(told) + 1, "a question whose end found no room waits to be run"
        assert house.journal.report.pending == 0
        await house.journal.query(c.GetProfile(owner=ANA))
        await house.fall()
        other = await conversation(house.journal)
        await one_turn(house.journal, other, "hay sitio otra vez")
        await house.heal()
        assert await house.texts(other) == ["hay sitio otra vez", "re: hay sitio otra vez"]
