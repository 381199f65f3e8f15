"""The current state of the database, for an admin's graphs: what waits, runs and serves.

`DatabaseWatch` knows whether it answers without asking it: ``/health`` must not wait for it.
"""

import logging
import threading
from collections import Counter
from collections.abc import Mapping

from sqlalchemy import select

from backend.db.engine import Database, records
from backend.db.migrations import check
from backend.db.models import ProjectRow, SampledProjectRow
from backend.db.models.jobs import ENDS, REPLAY, SCORING, TRAINING
from backend.errors import DatabaseError
from backend.jobs.presence import processes
from backend.jobs.queue import Jobs
from backend.label_studio.payloads import Project
from backend.metrics import Gauges
from backend.registry import champions as promotion_log
from backend.registry.champions import Champions
from backend.samples.rules import sample_gauges
from backend.worker.webhook_inbox import Deliveries

_log = logging.getLogger(__name__)

# Reported even if it is 0: a graph without a line would be ambiguous.
_KINDS = (TRAINING, SCORING, REPLAY)
_STATES = ("queued", "running", *ENDS)
_PROJECTS = 200
_PROCESSES = ("server", "worker", "training", "scheduler")
# Seconds between two checks of the database.
_EVERY_S = 5.0


def read_gauges(database: Database, *, base: str = "") -> Gauges:
    """Sums over indexed rows; the caller limits how often.

    base: the name of what serves a project without a champion.
    """
    jobs = dict.fromkeys(((kind, state) for kind in _KINDS for state in _STATES), 0)
    living = dict.fromkeys(_PROCESSES, 0)
    for process in processes(database):
        living[process.kind] = living.get(process.kind, 0) + process.is_running()
    deliveries = Deliveries(database).open()
    with database.read() as connection:
        champions = Champions.after(promotion_log.history(connection))
        # Only those with labels or a champion: anyone can announce a project.
        sampled = SampledProjectRow.key.is_not(None)
        query = (
            select(ProjectRow.key)
            .outerjoin(SampledProjectRow, SampledProjectRow.key == ProjectRow.key)
            .where(sampled | ProjectRow.key.in_(list(champions.by_project)))
            .order_by(ProjectRow.created_at)
        )
        projects = records(connection, query.limit(_PROJECTS))
    return Gauges(
        labels=_of_most_projects(sample_gauges(database)),
        deliveries={"waiting": deliveries.waiting, "given up": deliveries.failed},
        jobs=jobs | Jobs(database).counts(),
        processes=living,
        champions={key: champions.of(Project.read(key)) or base for key in projects},
    )


def _of_most_projects(labels: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    """The projects with the most labels; a graph of more could not be read."""
    total: Counter[str] = Counter()
    for (project, _), number in labels.items():
        total[project] += number
    kept = {project for project, _ in total.most_common(_PROJECTS)}
    return {key: number for key, number in labels.items() if key[0] in kept}


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
        self._ended.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            try:
                check(self._database)
            except DatabaseError as error:
                if not self.trouble:
                    _log.error("%s", error)
                self.trouble = str(error)
            except Exception:  # such as a table that is missing; the next check may find it
                _log.exception("The database could not be checked")
                self.trouble = "The database could not be checked; see the log."
            else:
                self.trouble = ""
