"""A PostgreSQL server that tests can restart, and in which they can block a worker."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from backend.worker.child_process import free_port
from tests.backend.databases import _postgres_tools

# Any number: a process that waits for this lock is where the test wants it.
_GATE = 4_711


class Postgres:
    """One server with one database, at the same port after each start."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._user: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(home, "postgres", "postgres")
            self._user = ["runuser", "-u", "postgres", "--"]
        self._tools = _postgres_tools()
        self._port = free_port()
        self.url = f"postgresql://tests@127.0.0.1:{self._port}/postgres"
        make = ["initdb", "-D", str(home / "data"), "-U", "tests", "-A", "trust", "-N"]
        self._run(*make).wait()
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        quick = ["-k", str(self._home), "-c", "fsync=off", "-c", "full_page_writes=off"]
        where = ["-D", str(self._home / "data"), "-h", "127.0.0.1", "-p", str(self._port)]
        self._server = self._run("postgres", *where, *quick)
        deadline = time.monotonic() + 120
        while True:
            try:
                self.sql("SELECT 1")
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, (self._home / "log").read_text()[-2000:]
                time.sleep(0.1)
            else:
                return

    def stop(self) -> None:
        """Stop at once, without waiting for transactions; what was committed is kept."""
        number = int((self._home / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(number, signal.SIGQUIT)
        assert self._server is not None
        self._server.wait(60)

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement, values or None)  # type: ignore[call-overload]
            return list(cursor.fetchall()) if cursor.description else []

    @contextmanager
    def held_up(self, when: str) -> Iterator[Callable[[], bool]]:
        """Block every process at ``when`` (a trigger's: "BEFORE INSERT ON promotions ..."), in the
        middle of its transaction. Yields a function that says whether one is blocked. In the end
        their connections are closed, as the server does when it notices that a client died."""
        self.sql(
            "CREATE OR REPLACE FUNCTION held_up() RETURNS trigger AS $$ BEGIN "
            f"PERFORM pg_advisory_xact_lock({_GATE}); RETURN NEW; END $$ LANGUAGE plpgsql"
        )
        event, _, condition = when.partition(" WHEN ")
        condition = f"WHEN ({condition})" if condition else ""
        self.sql(
            f"CREATE TRIGGER held_up {event} FOR EACH ROW {condition} EXECUTE FUNCTION held_up()"
        )
        waiting = f"locktype = 'advisory' AND objid = {_GATE} AND NOT granted"
        with psycopg.connect(self.url, autocommit=True) as holder:
            holder.execute(f"SELECT pg_advisory_lock({_GATE})")
            try:
                yield lambda: bool(self.sql(f"SELECT 1 FROM pg_locks WHERE {waiting}"))
            finally:
                self.sql(f"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE {waiting}")
        table = event.partition(" ON ")[2]
        self.sql(f"DROP TRIGGER held_up ON {table}")

    def _run(self, tool: str, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self._home / "log").open("ab") as log:
            return subprocess.Popen(
                [*self._user, str(self._tools / tool), *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._home,
            )


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    # Not pytest's own folder: nobody but its owner may enter that, and PostgreSQL refuses root.
    home = Path(tempfile.mkdtemp(prefix="phraseclick-postgres-"))
    server = Postgres(home)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)
