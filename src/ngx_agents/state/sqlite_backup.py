"""Copies of the SQLite journal: taken beside a running server, verified, and put back while none runs.

A copy is made under another name beside its place, checked and synced, and only then renamed into it: whatever happens
on the way, what was there before is still there. The journal that a restore replaces is kept beside it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ngx_agents.errors import InvalidRequest, JournalError, JournalLocked, JournalTooNew, JournalUnavailable, NotFound
from ngx_agents.state.migrations import migrations

PAGES_PER_STEP = 2000
PAUSE_S = 0.001


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """`former` is where the journal that was replaced went, if there was one."""

    size_bytes: int
    schema_version: int
    conversations: int
    former: Path | None = None


def back_up(journal: Path, target: Path) -> Copied:
    """Copies the journal as of one moment into `target`, over what was there. Blocking.

    Raises NotFound, InvalidRequest (the journal itself), JournalError (damaged), JournalUnavailable.
    """
    if not journal.is_file():
        raise NotFound(f"there is no journal at {journal}")
    if target.exists() and target.samefile(journal):
        raise InvalidRequest("the backup cannot be the journal itself", field="FILE")
    with _translated(target), _copied_beside(journal, target) as (copy, found):
        os.replace(copy, target)
        _sync_folder(target.parent)
    return found


def restore(journal: Path, source: Path, *, suffix: str) -> Copied:
    """Puts the backup in the journal's place; the former one goes to its name with `suffix`. Blocking.

    Raises NotFound, JournalLocked (a server runs), JournalTooNew, JournalError (not a whole journal),
    JournalUnavailable.
    """
    if not source.is_file():
        raise NotFound(f"there is no backup at {source}")
    if journal.exists() and source.samefile(journal):
        raise InvalidRequest("the backup is the journal itself", field="FILE")
    with _translated(journal), _locked(journal), _copied_beside(source, journal) as (copy, found):
        former = _set_aside(journal, suffix) if journal.exists() else None
        os.replace(copy, journal)
        _sync_folder(journal.parent)
    return msgspec.structs.replace(found, former=former)


@contextlib.contextmanager
def _copied_beside(source: Path, target: Path) -> Iterator[tuple[Path, Copied]]:
    """A verified copy of `source` in the folder of `target`, removed unless it was renamed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    copy = target.with_name(f".{target.name}.{os.getpid()}.copying")
    os.close(os.open(copy, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600))
    try:
        _copy(source, copy)
        found = _verified(copy)
        with copy.open("rb") as written:
            os.fsync(written.fileno())
        yield copy, found
    finally:
        for left in (copy, Path(f"{copy}-wal"), Path(f"{copy}-shm"), Path(f"{copy}-journal")):
            left.unlink(missing_ok=True)


def _copy(source: Path, copy: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as read,
        contextlib.closing(sqlite3.connect(copy)) as written,
    ):
        read.backup(written, pages=PAGES_PER_STEP, sleep=PAUSE_S)
        written.execute("PRAGMA journal_mode = DELETE")  # one file, complete by itself


def _verified(copy: Path) -> Copied:
    with contextlib.closing(sqlite3.connect(copy)) as db:
        [(verdict,), *_] = db.execute("PRAGMA integrity_check(1)").fetchall()
        if verdict != "ok":
            raise JournalError("the journal is damaged: its integrity check fails")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        supported = migrations("sqlite")[-1][0]
        if version > supported:
            raise JournalTooNew(found=version, supported=supported)
        if version < 1:
            raise JournalError("this is not a journal of this program")
        (conversations,) = db.execute("SELECT count(*) FROM conversation").fetchone()
    return Copied(size_bytes=copy.stat().st_size, schema_version=version, conversations=conversations)


def _set_aside(journal: Path, suffix: str) -> Path:
    """The journal under a second name, complete without the write-ahead log that is taken away from the first."""
    with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(sqlite3.connect(journal)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    former = journal.with_name(journal.name + suffix)
    os.link(journal, former)
    for part in ("-wal", "-shm"):
        log = Path(f"{journal}{part}")
        if log.exists():
            os.replace(log, f"{former}{part}")
    return former


@contextlib.contextmanager
def _locked(journal: Path) -> Iterator[None]:
    """As a server does it. Raises JournalLocked."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(f"{journal}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JournalLocked(f"a server has {journal} open: stop it first") from error
        yield
    finally:
        os.close(lock)


@contextlib.contextmanager
def _translated(place: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise JournalUnavailable("the journal cannot be read or the copy not written now") from error
    except sqlite3.DatabaseError as error:
        raise JournalError("this is not a whole SQLite database") from error
    except OSError as error:
        raise JournalUnavailable(f"{place} cannot be written: {error.strerror}") from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
