"""The bytes of attachments in an object store, what they are in the journal: a Journal in front of one.

Every upload gets a key of its own, which the journal's row names, so that deleting one never takes another's bytes.
The order makes sure that a row's bytes are there: bytes first, then the row; the row's end first, then the bytes'.
What is left between is an orphan: bytes that no row names, swept when they are an hour old. Erasure deletes all
of an owner's, rows or not, and is not done before that is.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

import msgspec

from ngx_agents.errors import NgxError, ObjectsUnavailable
from ngx_agents.state import commands as c
from ngx_agents.state.blob_commands import Blob, BlobInfo
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Owner
from ngx_agents.state.object_store import ObjectStore, StoredObject
from ngx_agents.telemetry.log import event_log

log = event_log("state")
PLACE = "objects/"
ORPHAN_S = 3600.0
PAGES_A_SWEEP = 100
LOOK_S = 2.0
DELETES_AT_ONCE = 16
Concerned = c.PutBlob | c.DeleteBlob | c.EraseUser


class ObjectTier:
    """`store` is opened and closed with the journal. An attachment that was in the journal before stays there."""

    def __init__(self, journal: Journal, store: ObjectStore) -> None:
        self._journal = journal
        self._store = store
        self._swept_to: str | None = None

    async def open(self) -> None:
        await self._store.open()
        try:
            await self._journal.open()
        except BaseException:
            await self._store.close()
            raise
        await self._look()

    async def _look(self) -> None:
        """One clear line at the start for a store that cannot be used; it keeps nobody from starting."""
        try:
            async with asyncio.timeout(LOOK_S):
                await self._store.page(most=1)
        except (ObjectsUnavailable, TimeoutError) as error:
            log.error("objects.unusable", reason=str(error) or "the object store does not answer")

    async def close(self) -> None:
        await self._journal.close()
        await self._store.close()

    async def migrate(self) -> int:
        return await self._journal.migrate()

    async def claim(self, limit: int, *, instance: str, now: float) -> list[c.Grant]:
        return await self._journal.claim(limit, instance=instance, now=now)

    async def query(self, question: c.Question) -> Any:
        """Raises ObjectsUnavailable for an attachment whose bytes cannot be had now."""
        found = await self._journal.query(question)
        if isinstance(question, c.GetBlob) and found is not None and found.info.place.startswith(PLACE):
            return await self._with_bytes(found.info)
        return found

    async def transact(self, commands: Sequence[c.Command]) -> list[Any]:
        """What concerns attachments is done one by one, in its order among the others."""
        if not any(isinstance(command, Concerned) for command in commands):
            return await self._journal.transact(commands)
        results: list[Any] = []
        for command in commands:
            try:
                results.append(await self._done(command))
            except ObjectsUnavailable as error:
                results.append(error)
        return results

    async def _done(self, command: c.Command) -> Any:
        match command:
            case c.PutBlob():
                return await self._put(command)
            case c.DeleteBlob():
                return await self._delete(command)
            case c.EraseUser():
                return await self._erase(command)
            case _:
                return await self._told(command)

    async def _told(self, command: c.Command) -> Any:
        [result] = await self._journal.transact([command])
        return result

    async def _put(self, command: c.PutBlob) -> Any:
        info = command.blob.info
        if await self._journal.query(c.FindBlobs(ids=(info.id,), owner=command.owner)):
            return await self._told(command)
        key = f"{_folder(command.owner)}{info.id}.{secrets.token_hex(8)}"
        await self._store.put(key, command.blob.data, sha256=info.sha256)
        row = Blob(info=msgspec.structs.replace(info, place=PLACE + key), data=b"")
        result = await self._told(msgspec.structs.replace(command, blob=row))
        if isinstance(result, NgxError):
            await self._drop(key)
        return result

    async def _delete(self, command: c.DeleteBlob) -> Any:
        found: tuple[BlobInfo, ...] = await self._journal.query(c.FindBlobs(ids=(command.id,), owner=command.owner))
        result = await self._told(command)
        if result is True and found and found[0].place.startswith(PLACE):
            await self._drop(found[0].place.removeprefix(PLACE))
        return result

    async def _erase(self, command: c.EraseUser) -> Any:
        """The rows first; asked again after ObjectsUnavailable, it goes on with the bytes that are left."""
        erased = await self._told(command)
        if isinstance(erased, NgxError):
            return erased
        count, after = 0, None
        while found := await self._store.page(_folder(command.owner), after=after):
            await self._delete_all(found)
            count, after = count + len(found), found[-1].key
        return {**erased, "object": count}

    async def _with_bytes(self, info: BlobInfo) -> Blob | None:
        data = await self._store.get(info.place.removeprefix(PLACE))
        if data is None or hashlib.sha256(data).hexdigest() != info.sha256:
            log.error("objects.lost", blob_id=info.id, is_there=data is not None)
            return None
        return Blob(info=info, data=data)

    async def _drop(self, key: str) -> None:
        """What cannot be deleted now is an orphan."""
        try:
            await self._store.delete(key)
        except ObjectsUnavailable as error:
            log.warning("objects.not_deleted", code=error.code)

    async def sweep_orphans(self) -> int:
        """Deletes bytes that no row names; how many. Goes on where the last sweep ended.

        Raises ObjectsUnavailable, JournalUnavailable.
        """
        gone = 0
        for _ in range(PAGES_A_SWEEP):
            page = await self._store.page(after=self._swept_to)
            self._swept_to = page[-1].key if page else None
            if not page:
                break
            gone += await self._sweep(page)
        return gone

    async def _sweep(self, page: Sequence[StoredObject]) -> int:
        old = [found for found in page if found.age_s > ORPHAN_S]
        ids = tuple({_blob_id(found.key) for found in old})
        known = set(await self._journal.query(c.KnownBlobs(ids=ids))) if ids else set()
        orphans = [found for found in old if PLACE + found.key not in known]
        await self._delete_all(orphans)
        return len(orphans)

    async def _delete_all(self, found: Sequence[StoredObject]) -> None:
        for start in range(0, len(found), DELETES_AT_ONCE):
            few = found[start : start + DELETES_AT_ONCE]
            await asyncio.gather(*(self._store.delete(one.key) for one in few))


def _folder(owner: Owner) -> str:
    """Where everything of an owner is; it names no one."""
    named = f"{len(owner.tenant)}:{owner.tenant}{owner.user}".encode("utf-8", "surrogatepass")
    return f"{hashlib.sha256(named).hexdigest()[:32]}/"


def _blob_id(key: str) -> str:
    return key.rpartition("/")[2].partition(".")[0]
