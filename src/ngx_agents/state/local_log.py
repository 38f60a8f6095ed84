"""A file to which is appended what the journal cannot take just now: local acceptance.

Frames of length, CRC-32, generation and payload; an append returns after fsync, and what waits meanwhile shares the
next one. The end of the log is the first frame that does not check: a torn tail is cut off when the log is opened.
`clear` starts a new generation, so that remains of an older one can never be read as its continuation. Local means: it
survives the death of the process, not the loss of that disk. One process at a time has it open.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ngx_agents.errors import JournalError, JournalLocked, JournalUnavailable, NgxError
from ngx_agents.resilience.courtesy import Courtesy
from ngx_agents.state.owner_thread import OwnerThread

MAGIC = b"NGXLOG1\n"
_HEAD = struct.Struct("<IIQ")  # payload length, CRC-32 of generation and payload, generation
_GENERATION = struct.Struct("<Q")
MAX_PAYLOAD_BYTES = 16 * 2**20


class LocalLog:
    """`path` is the file, its folder made when absent. `max_bytes` bounds it: a full log refuses, it never forgets."""

    def __init__(self, path: Path, *, courtesy: Courtesy | None = None, max_bytes: int = 2**30) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._thread = OwnerThread(
            "ngx-local-log",
            lambda: _File(path, max_bytes),
            run_batch=_run_batch,
            understood=_understood,
            courtesy=courtesy or Courtesy(),
        )

    async def open(self) -> list[bytes]:
        """The payloads found, oldest first. Raises JournalLocked, JournalUnavailable, JournalError (foreign file)."""
        await self._thread.start()
        found: list[bytes] = await self._thread.submit(_READ)
        return found

    async def append(self, payload: bytes) -> None:
        """Durable on this disk when it returns. Raises JournalUnavailable: full, broken, or closed."""
        await self._thread.submit(payload)

    async def clear(self) -> None:
        """Forgets everything, once it is safe elsewhere. Raises JournalUnavailable."""
        await self._thread.submit(_CLEAR)

    async def close(self) -> None:
        await asyncio.shield(self._thread.stop())


_READ = object()
_CLEAR = object()


class _File:
    """The open file, in its thread. After a failed fsync nothing more is written: what is on disk is not known."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._max_bytes = max_bytes
        self._is_broken = False
        self.payloads: list[bytes] = []
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._generation, self._end = self._recover()
        except BaseException:
            os.close(self._fd)
            raise
        _fsync_folder(path)

    def append(self, payloads: Sequence[bytes]) -> None:
        """All or none, durable."""
        frames = b"".join(self._frame(payload) for payload in payloads)
        if self._is_broken:
            raise JournalUnavailable("the local log is broken and takes nothing more", retry_after_s=60.0)
        if self._end + len(frames) > self._max_bytes:
            raise JournalUnavailable("the local log is full", retry_after_s=30.0)
        try:
            _write_all(self._fd, frames, self._end)
        except OSError as error:
            os.ftruncate(self._fd, self._end)
            raise JournalUnavailable("the disk of the local log is full or failing", retry_after_s=30.0) from error
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            self._is_broken = True
            raise JournalUnavailable("the local log cannot be made durable", retry_after_s=60.0) from error
        self._end += len(frames)

    def clear(self) -> None:
        self._generation += 1
        self._begin()

    def close(self) -> None:
        os.close(self._fd)

    def _frame(self, payload: bytes) -> bytes:
        generation = _GENERATION.pack(self._generation)
        crc = zlib.crc32(payload, zlib.crc32(generation))
        return _HEAD.pack(len(payload), crc, self._generation) + payload

    def _recover(self) -> tuple[int, int]:
        """Generation and end, once the sound frames are read and the rest is cut off."""
        size = os.fstat(self._fd).st_size
        head = os.pread(self._fd, len(MAGIC) + _GENERATION.size, 0)
        if size and not head.startswith(MAGIC[: len(head)]):
            raise JournalError("the local log's file is something else")
        if len(head) < len(MAGIC) + _GENERATION.size:
            self._generation = 1
            self._begin()
            return 1, self._end
        (generation,) = _GENERATION.unpack(head[len(MAGIC) :])
        end = len(head)
        for payload in _frames(self._fd, end, size, generation):
            self.payloads.append(payload)
            end += _HEAD.size + len(payload)
        if end < size:
            os.ftruncate(self._fd, end)
            os.fsync(self._fd)
        return generation, end

    def _begin(self) -> None:
        """An empty log of the present generation: the header first, so that old frames no longer belong."""
        head = MAGIC + _GENERATION.pack(self._generation)
        _write_all(self._fd, head, 0)
        os.fdatasync(self._fd)
        os.ftruncate(self._fd, len(head))
        os.fsync(self._fd)
        self._end = len(head)
        self.payloads = []


def _frames(fd: int, start: int, size: int, generation: int) -> Iterator[bytes]:
    at = start
    while at + _HEAD.size <= size:
        length, crc, of_generation = _HEAD.unpack(os.pread(fd, _HEAD.size, at))
        if of_generation != generation or length > min(MAX_PAYLOAD_BYTES, size - at - _HEAD.size):
            return
        payload = os.pread(fd, length, at + _HEAD.size)
        if len(payload) != length or zlib.crc32(payload, zlib.crc32(_GENERATION.pack(of_generation))) != crc:
            return
        yield payload
        at += _HEAD.size + length


def _run_batch(file: _File, jobs: Sequence[Any]) -> list[Any]:
    """Appends share one fsync; reading and clearing stand in their order between them."""
    results: list[Any] = []
    waiting: list[bytes] = []

    def flush() -> None:
        if waiting:
            results.extend([_attempt(lambda: file.append(waiting))] * len(waiting))
            waiting.clear()

    for job in jobs:
        if isinstance(job, bytes):
            if len(job) > MAX_PAYLOAD_BYTES:
                flush()
                results.append(JournalError("too large for the local log"))
            else:
                waiting.append(job)
            continue
        flush()
        results.append(list(file.payloads) if job is _READ else _attempt(file.clear))
    flush()
    return results


def _attempt(do: Any) -> NgxError | None:
    try:
        do()
    except Exception as error:  # noqa: BLE001 - the supervisor of the log
        return _understood(error)
    return None


def _understood(error: Exception) -> NgxError:
    if isinstance(error, NgxError):
        return error
    if isinstance(error, BlockingIOError):
        return JournalLocked("another server has the local log open")
    return JournalUnavailable("the local log cannot be opened or written", retry_after_s=30.0)


def _write_all(fd: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, at)
        view, at = view[written:], at + written


def _fsync_folder(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
