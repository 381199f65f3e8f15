"""Webhooks on their way into the database: a moment in memory, and on disk where it takes longer.

Label Studio waits one second and never sends again, while a row may have to wait: for another
process that writes, for a database that restarts. So one thread writes the rows, and who handed a
letter in waits for a few milliseconds only; then the letter is put into a file, which a kill -9
survives, and the row follows when it can. What a process left behind when it died, the next one
that starts takes up. A letter may become two rows then, which changes nothing: settling is
idempotent.
"""

import base64
import contextlib
import fcntl
import logging
import os
import queue
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import orjson

from backend.errors import DatabaseError
from backend.worker.deliveries import Deliveries

_log = logging.getLogger(__name__)

# Of the 50 ms that a webhook may take; a row takes 1 to 5 where nobody is in the way.
PATIENCE_S = 0.012
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
_SUFFIX = ".letter"
_UNREADABLE = (OSError, ValueError, KeyError, TypeError)


@dataclass(eq=False)
class _Letter:
    action: str
    project_id: int | None
    received_at: datetime
    body: bytes | None  # None: it lies in the file
    file: Path | None = None
    written: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Letterbox:
    """See the module. Thread-safe; every process has a folder of its own in ``folder``."""

    def __init__(
        self,
        folder: Path,
        deliveries: Deliveries,
        written: Callable[[], None] = lambda: None,
    ) -> None:
        """``written`` is called after each row."""
        self._root = folder
        self._deliveries = deliveries
        self._written = written
        self._mine = folder / uuid.uuid4().hex
        self._lock = _made(self._mine)
        self._waiting: queue.SimpleQueue[_Letter | None] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._take_up()
        self._writer = threading.Thread(target=self._run, name="letterbox", daemon=True)
        self._writer.start()

    def drop(self, action: str, project_id: int | None, body: bytes) -> None:
        """Keep a webhook's body, within some milliseconds, whatever the database does.

        Raises OSError where there is neither a row nor room for a file.
        """
        letter = _Letter(action, project_id, datetime.now(UTC), body)
        self._waiting.put(letter)
        if letter.written.wait(PATIENCE_S):
            return
        with letter.lock:
            if not letter.written.is_set():
                letter.file = self._filed(letter)
                letter.body = None

    def close(self) -> None:
        """Write what can be written at once; the rest lies in files for the next start."""
        self._ended.set()
        self._waiting.put(None)
        self._writer.join(timeout=5)
        self._lock.close()
        if not any(self._mine.glob(f"*{_SUFFIX}")):
            _remove(self._mine)

    # -- inside

    def _run(self) -> None:
        while (letter := self._waiting.get()) is not None:
            pause = _FIRST_PAUSE_S
            while not self._write(letter):
                if self._ended.wait(pause):
                    self._file_the_rest(letter)
                    return
                pause = min(_LONGEST_PAUSE_S, pause * 2)

    def _write(self, letter: _Letter) -> bool:
        """Make the row; False where the database cannot be written now."""
        try:
            body = letter.body
            if body is None:
                assert letter.file is not None, "a letter is in memory or in a file"
                body = _read(letter.file).body
            if body is not None:
                self._deliveries.store(letter.action, letter.project_id, body, letter.received_at)
        except DatabaseError as error:
            _log.warning("A webhook waits for the database: %s", error)
            return False
        except _UNREADABLE as error:
            _log.error("A webhook's file cannot be read again and is lost: %s", error)
        with letter.lock:
            letter.written.set()
            if letter.file is not None:
                letter.file.unlink(missing_ok=True)
        self._written()
        return True

    def _file_the_rest(self, letter: _Letter | None) -> None:
        while letter is not None:
            with letter.lock:
                if letter.file is None:
                    letter.file = self._filed(letter)
            try:
                letter = self._waiting.get_nowait()
            except queue.Empty:
                return

    def _filed(self, letter: _Letter) -> Path:
        """Whole or not there at all. Names sort by time."""
        name = f"{letter.received_at.timestamp():.6f}-{uuid.uuid4().hex}{_SUFFIX}"
        told = {
            "action": letter.action,
            "project_id": letter.project_id,
            "received_at": letter.received_at,
            "body": base64.b64encode(letter.body or b"").decode(),
        }
        aside = self._mine / f"{name}.new"
        aside.write_bytes(orjson.dumps(told))
        return aside.rename(self._mine / name)

    def _take_up(self) -> None:
        """Letters of processes that are no more, oldest first."""
        for folder in sorted(self._root.iterdir()):
            if folder == self._mine or not folder.is_dir():
                continue
            try:
                lock = _locked(folder)
            except OSError:  # its process lives, or another one takes it up
                continue
            with lock:
                for file in sorted(folder.glob(f"*{_SUFFIX}")):
                    moved = file.rename(self._mine / file.name)
                    try:
                        self._waiting.put(_read(moved))
                    except _UNREADABLE as error:
                        _log.error("The kept webhook %s cannot be read: %s", moved, error)
                _remove(folder)


def _read(file: Path) -> _Letter:
    told = orjson.loads(file.read_bytes())
    return _Letter(
        action=told["action"],
        project_id=told["project_id"],
        received_at=datetime.fromisoformat(told["received_at"]),
        body=base64.b64decode(told["body"]),
        file=file,
    )


def _made(folder: Path) -> IO[bytes]:
    folder.mkdir(parents=True)
    return _locked(folder)


def _locked(folder: Path) -> IO[bytes]:
    """The folder's lock, held while its process lives. Raises OSError where somebody holds it."""
    handle = (folder / "lock").open("ab")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise
    return handle


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for left in folder.iterdir():
            os.unlink(left)
        folder.rmdir()
