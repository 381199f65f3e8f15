"""Whether the database answers, known without asking it: ``/health`` must not wait for it."""

import logging
import threading

from backend.db.engine import Database
from backend.errors import DatabaseError

_log = logging.getLogger(__name__)

_EVERY_S = 5.0


class DatabaseWatch:
    """Checks the database every few seconds. ``trouble``: a sentence, '' if it answers."""

    def __init__(self, database: Database, every_s: float = _EVERY_S) -> None:
        self.trouble = ""
        self._database = database
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="database watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop checking."""
        self._ended.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            try:
                self._database.check()
            except DatabaseError as error:
                if not self.trouble:
                    _log.error("%s", error)
                self.trouble = str(error)
            except Exception:  # such as a table that is missing; the next check may find it
                _log.exception("The database could not be checked")
                self.trouble = "The database could not be checked; see the log."
            else:
                self.trouble = ""
