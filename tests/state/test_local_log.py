"""The local log through restarts, torn tails, foreign bytes and full disks."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ngx_agents.errors import JournalError, JournalLocked, JournalUnavailable
from ngx_agents.state.local_log import MAX_PAYLOAD_BYTES, LocalLog


async def _written(path: Path, payloads: list[bytes]) -> None:
    log = LocalLog(path)
    await log.open()
    await asyncio.gather(*(log.append(payload) for payload in payloads))
    await log.close()


async def _read(path: Path) -> list[bytes]:
    log = LocalLog(path)
    found = await log.open()
    await log.close()
    return found


async def test_what_was_appended_is_found_again_in_order(tmp_path: Path) -> None:
    payloads = [f"turn {n}".encode() * n for n in range(200)]
    await _written(tmp_path / "log", payloads)
    assert await _read(tmp_path / "log") == payloads


async def test_appends_go_on_behind_what_is_there(tmp_path: Path) -> None:
    await _written(tmp_path / "log", [b"a", b"b"])
    await _written(tmp_path / "log", [b"c"])
    assert await _read(tmp_path / "log") == [b"a", b"b", b"c"]


async def test_a_log_cut_at_any_byte_gives_every_whole_frame_before_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "log"
    payloads = [b"one", b"two two", b"", b"four" * 10]
    await _written(path, payloads)
    whole = path.read_bytes()
    ends = [len(whole)]
    for payload in reversed(payloads):
        ends.insert(0, ends[0] - 16 - len(payload))
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        kept = sum(end <= cut for end in ends[1:])
        assert await _read(path) == payloads[:kept], cut
    assert await _read(path) == payloads[:3]


async def test_a_frame_behind_a_broken_one_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    await _written(path, [b"first", b"second", b"third"])
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b"second")] ^= 1
    path.write_bytes(damaged)
    assert await _read(path) == [b"first"]
    await _written(path, [b"new"])
    assert await _read(path) == [b"first", b"new"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=120), st.booleans())
def test_foreign_bytes_never_become_entries(tmp_path: Path, data: bytes, has_header: bool) -> None:
    async def scenario() -> None:
        path = tmp_path / "log"
        path.unlink(missing_ok=True)
        if has_header:
            await _written(path, [b"mine"])
            path.write_bytes(path.read_bytes() + data)
            assert await _read(path) == [b"mine"]
        else:
            path.write_bytes(data)
            try:
                assert await _read(path) == []
            except JournalError:
                assert path.read_bytes() == data, "a file that is not ours must stay as it is"

    asyncio.run(scenario())


async def test_cleared_entries_do_not_come_back(tmp_path: Path) -> None:
    log = LocalLog(tmp_path / "log")
    await log.open()
    await log.append(b"old")
    await log.clear()
    await log.append(b"new")
    await log.close()
    assert await _read(tmp_path / "log") == [b"new"]


async def test_frames_of_an_older_generation_are_not_read_as_its_continuation(tmp_path: Path) -> None:
    path = tmp_path / "log"
    await _written(path, [b"old one", b"old two"])
    old_frames = path.read_bytes()[16:]
    log = LocalLog(path)
    await log.open()
    await log.clear()
    await log.close()
    with path.open("ab") as file:  # as if the truncation had not reached the disk
        file.write(old_frames)
    assert await _read(path) == []


async def test_a_full_log_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    log = LocalLog(tmp_path / "log", max_bytes=200)
    await log.open()
    await log.append(b"x" * 100)
    with pytest.raises(JournalUnavailable, match="full"):
        await log.append(b"y" * 100)
    await log.append(b"z" * 20)
    await log.close()
    assert await _read(tmp_path / "log") == [b"x" * 100, b"z" * 20]


async def test_a_disk_without_room_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    former = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    log = LocalLog(tmp_path / "log")
    await log.open()
    await log.append(b"x" * 1000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    try:
        with pytest.raises(JournalUnavailable, match="disk"):
            await log.append(b"y" * 5000)
        await log.append(b"z" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, former)
        await log.close()
    assert await _read(tmp_path / "log") == [b"x" * 1000, b"z" * 100]


async def test_two_processes_never_share_a_log(tmp_path: Path) -> None:
    log = LocalLog(tmp_path / "log")
    await log.open()
    with pytest.raises(JournalLocked):
        await LocalLog(tmp_path / "log").open()
    await log.close()


async def test_an_oversized_entry_is_refused_alone(tmp_path: Path) -> None:
    log = LocalLog(tmp_path / "log")
    await log.open()
    results = await asyncio.gather(
        log.append(b"a"), log.append(b"x" * (MAX_PAYLOAD_BYTES + 1)), log.append(b"b"), return_exceptions=True
    )
    await log.close()
    assert [type(result) for result in results] == [type(None), JournalError, type(None)]
    assert await _read(tmp_path / "log") == [b"a", b"b"]


async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "log"
    script = """
        import asyncio, sys
        from pathlib import Path
        from ngx_agents.state.local_log import LocalLog
        async def main():
            log = LocalLog(Path(sys.argv[1]))
            await log.open()
            async def writer(name):
                for n in range(100000):
                    await log.append(f"{name}:{n}".encode())
                    print(f"{name}:{n}", flush=True)
            await asyncio.gather(*(writer(w) for w in range(8)))
        asyncio.run(main())
    """
    process = subprocess.Popen(  # noqa: ASYNC220  # the test has nothing else to do
        [sys.executable, "-c", textwrap.dedent(script), str(path)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    acknowledged = [process.stdout.readline() for _ in range(150)]
    process.send_signal(signal.SIGKILL)
    acknowledged += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    found = [entry.decode() for entry in await _read(path)]
    told = [line.decode().strip() for line in acknowledged if line.endswith(b"\n")]
    assert len(told) >= 150
    assert set(told) <= set(found)
    for name in range(8):
        mine = [int(entry.split(":")[1]) for entry in found if entry.startswith(f"{name}:")]
        assert mine == list(range(len(mine)))


async def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(JournalUnavailable):
        await LocalLog(tmp_path / "file" / "log").open()
    assert (tmp_path / "file").read_text() == "not a folder"
